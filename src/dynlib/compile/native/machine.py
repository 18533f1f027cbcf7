"""LLVM: IR is optimised and becomes object code, and object code becomes a shared object where that can be done."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from dynlib.compile.native.entry import NAME

_LOCK = threading.Lock()
"""LLVM is asked by one thread at a time."""
_KEPT: list[Any] = []
"""Engines own the code that they loaded; they live as long as the process."""
_OBJECT, _SHARED = "code.o", "code.so"
_LINKER = (
    "ld", "-shared", "-Bsymbolic", "--build-id=none", "-z", "noexecstack", _OBJECT, "-l:libm.so.6", "-o", _SHARED,
)  # fmt: skip
"""The mathematical functions are named with their versions, so that they are those that LLVM would find."""


@cache
def _started() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


@cache
def features() -> str:
    """What the processor can do, as LLVM writes it."""
    found: str = llvm.get_host_cpu_features().flatten()
    return found


def _machine() -> Any:
    return _started().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features(), opt=3, reloc="pic", codemodel="small", jit=False
    )


def processor() -> tuple[str, ...]:
    """The processor, as LLVM knows it."""
    return llvm.get_default_triple(), llvm.get_host_cpu_name(), features()


def _optimised(ir: str, machine: Any) -> Any:
    module = llvm.parse_assembly(ir)
    module.triple, module.data_layout = llvm.get_default_triple(), str(machine.target_data)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = tuning.loop_unrolling = True
    tuning.slp_vectorization = False  # packing and unpacking numbers that wait for each other makes steps longer
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module


def compiled(ir: str) -> bytes:
    """Object code for IR, optimised."""
    with _LOCK:
        machine = _machine()
        code: bytes = machine.emit_object(_optimised(ir, machine))
        return code


def assembly(ir: str) -> str:
    """The assembly of IR, optimised: to see what became of it."""
    with _LOCK:
        machine = _machine()
        text: str = machine.emit_assembly(_optimised(ir, machine))
        return text


def linked(code: bytes) -> bytes:
    """Object code as a shared object; as it was where no linker does that."""
    if sys.platform != "linux":
        return code
    with suppress(OSError, subprocess.SubprocessError), tempfile.TemporaryDirectory(prefix="dynlib-") as folder:
        Path(folder, _OBJECT).write_bytes(code)
        subprocess.run(_LINKER, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=10)
        return Path(folder, _SHARED).read_bytes()
    return code


def address_in(code: bytes) -> int:
    """The entry of object code, loaded by LLVM."""
    with _LOCK:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _KEPT.append(engine)
        address: int = engine.get_function_address(NAME)
        return address
