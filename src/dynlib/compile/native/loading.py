"""Compiled code becomes a function to call. What the linker of the system has linked needs no LLVM for that."""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import llvmlite

from dynlib.compile.native.entry import NAME

_IDENTITY = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features",
)  # fmt: skip
"""The lines of /proc/cpuinfo that tell one processor from another; the others change with time."""
_SHARED = b"\x03\x00"
"""`ET_DYN`, the type in the header of an ELF file that the loader of the system takes."""
_LOADED = itertools.count(1)


@cache
def description() -> str:
    """What compiled code depends on beside its source: LLVM, and the processor."""
    return repr((llvmlite.__version__, sys.platform, *_processor()))


def _processor() -> tuple[str, ...]:
    with suppress(OSError), open("/proc/cpuinfo", "rb", buffering=0) as file:
        first = file.read(8192).decode("utf-8", "replace").split("\n\n", 1)[0]
        lines = [tuple(part.strip() for part in line.split(":", 1)) for line in first.splitlines()]
        known = {name: value[0] for name, *value in lines if name in _IDENTITY and value}
        if known.get("flags") or known.get("Features"):
            return (os.uname().machine, *(f"{name}: {value}" for name, value in known.items()))
    from dynlib.compile.native.machine import processor  # LLVM takes long to load: only where the system does not say

    return processor()


def is_shared(code: bytes) -> bool:
    """Whether compiled code is a shared object, which needs no LLVM to be loaded."""
    return code[:4] == b"\x7fELF" and code[16:18] == _SHARED


def loaded(code: bytes) -> Callable[[tuple[Any, ...]], Any]:
    """The entry of compiled code, as a function of a tuple. Raises `OSError` if the system does not load it."""
    if is_shared(code):
        address = _address(code)
    else:
        from dynlib.compile.native.machine import address_in  # LLVM takes long to load

        address = address_in(code)
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)


def _address(code: bytes) -> int:
    """The entry of a shared object, loaded from memory: from the very bytes that were checked."""
    if sys.platform != "linux":
        raise OSError("shared objects are loaded from memory on Linux only")
    handle = os.memfd_create("dynlib")
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(code)
        # The loader takes what it has loaded under the same name before, so that every name must be new.
        new = f"{next(_LOADED):b}".replace("1", "./").replace("0", "/")
        library = ctypes.CDLL(f"/proc/self/fd/{new}{handle}")
    finally:
        os.close(handle)
    return ctypes.c_void_p.from_address(ctypes.addressof(library[NAME])).value or 0
