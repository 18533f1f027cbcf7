"""The Numba back-end: compiled meaning of the elementary functions, and compilation of a generated module.

Imported only when something is to be compiled.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from dynlib.compile import elementary
from dynlib.spec.expressions import C_FUNCTIONS


def _register_one(name: str, compute: Callable[[float], float]) -> None:
    def narrow(x: Any) -> Any:
        return np.float32(compute(np.float64(x)))

    def wide(x: Any) -> Any:
        return compute(np.float64(x))

    @overload(getattr(elementary, name), strict=False)
    def _(x: Any) -> Callable[[Any], Any]:
        return narrow if x == types.float32 else wide


def _register_two(name: str, compute: Callable[[float, float], float]) -> None:
    def narrow(x: Any, y: Any) -> Any:
        return np.float32(compute(np.float64(x), np.float64(y)))

    def wide(x: Any, y: Any) -> Any:
        return compute(np.float64(x), np.float64(y))

    @overload(getattr(elementary, name), strict=False)
    def _(x: Any, y: Any) -> Callable[[Any, Any], Any]:
        return narrow if x == types.float32 else wide


for _name in C_FUNCTIONS:
    _register_one(_name, getattr(math, _name))
_register_one("exp2", np.exp2)
_register_two("power", math.pow)
_register_two("atan2", math.atan2)
for _function in elementary.PLAIN:
    register_jitable(_function)


def compile_module(module: ModuleType, *, contract: bool) -> None:
    """Replace every function of a generated module by its compiled form.

    Strict IEEE arithmetic: no reordering, no fused operations unless `contract`. The kernel is cached on disk next
    to the module's file.
    """
    fast: Any = {"contract"} if contract else False
    for name, value in list(vars(module).items()):
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            function: FunctionType = value
            jit = numba.njit(error_model="numpy", fastmath=fast, nogil=True, cache=name == "kernel", boundscheck=False)
            setattr(module, name, jit(function))
