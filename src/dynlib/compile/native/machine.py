"""The machine: IR is optimised and becomes object code, and object code becomes a function to call."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from dynlib.compile.native.entry import NAME

_LOCK = threading.Lock()
"""LLVM is asked by one thread at a time."""
_KEPT: list[Any] = []
"""Engines own the code that they loaded; they live as long as the process."""


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
        cpu=llvm.get_host_cpu_name(), features=features(), opt=3, reloc="default", codemodel="jitdefault", jit=True
    )


@cache
def description() -> str:
    """What object code depends on beside its source: LLVM, and the processor."""
    processor = llvm.get_host_cpu_name(), features()
    return repr((llvmlite.__version__, llvm.llvm_version_info, llvm.get_default_triple(), *processor))


def _optimised(ir: str, machine: Any) -> Any:
    module = llvm.parse_assembly(ir)
    module.triple, module.data_layout = llvm.get_default_triple(), str(machine.target_data)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = True
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


def loaded(code: bytes) -> Callable[[tuple[Any, ...]], Any]:
    """The entry of object code, as a function of a tuple."""
    with _LOCK:
        empty = llvm.parse_assembly("")
        engine = llvm.create_mcjit_compiler(empty, _machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        address = engine.get_function_address(NAME)
        _KEPT.append(engine)
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)
