"""The Numba back-end: compiled meaning of the elementary functions, and compilation of a generated module.

Imported only when something is to be compiled.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import pickle
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.compiler import CompileResult
from numba.core.imputils import lower_builtin
from numba.core.serialize import dumps
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import overload, register_jitable

from dynlib.compile import elementary, roots
from dynlib.compile.cache import Store, sealed, unsealed
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


class _SumOfProducts(AbstractTemplate):  # type: ignore[misc]
    """The type of a sum of products: float32 if all factors are."""

    def generic(self, args: Any, kws: Any) -> Any:
        return signature(types.float32 if all(a == types.float32 for a in args) else types.float64, *args)


def _widened(context: Any, builder: Any, sig: Any, args: Any) -> list[Any]:
    return [context.cast(builder, x, kind, types.float64) for x, kind in zip(args, sig.args, strict=True)]


def _lower_fused(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    value = builder.fma(*_widened(context, builder, sig, args))
    return context.cast(builder, value, types.float64, sig.return_type)


def _lower_dot(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    wide = _widened(context, builder, sig, args)
    chains = elementary.chains_of(len(wide) // 2)
    sums = [builder.fmul(wide[2 * c], wide[2 * c + 1]) for c in range(chains)]
    for j in range(chains, len(wide) // 2):
        sums[j % chains] = builder.fma(wide[2 * j], wide[2 * j + 1], sums[j % chains])
    while len(sums) > 1:
        sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
    return context.cast(builder, sums[0], types.float64, sig.return_type)


def _register_products(function: Callable[..., Any], lower: Callable[..., Any]) -> None:
    infer_global(function)(type(f"_{function.__name__}", (_SumOfProducts,), {"key": function}))
    lower_builtin(function, types.VarArg(types.Any))(lower)


_register_products(elementary.fused, _lower_fused)
_register_products(elementary.dot, _lower_dot)
for _function in (*elementary.PLAIN, *roots.PLAIN):
    register_jitable(_function)


class _KernelCache:
    """What a dispatcher of Numba asks for compiled code and gives it to: one entry of a store for each signature.

    Numba's cache saves the same things (`CompileResult` reduced and rebuilt), without a digest; see `cache`.
    """

    def __init__(self, store: Store, name: str, source: str) -> None:
        self._store, self._name, self._source = store, name, source

    @property
    def cache_path(self) -> str:
        """The folder, for `dispatcher.stats`."""
        return str(self._store.path(""))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for a signature; None if there is none that is whole."""
        target_context.refresh()
        entry, key = self._entry_and_key(sig, target_context.codegen())
        payload = unsealed(key, self._store.read(entry))
        return None if payload is None else CompileResult._rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, sig: Any, result: Any) -> None:
        """Keep a compiled function, unless it holds addresses of this process."""
        if result.lifted or result.library.has_dynamic_globals:
            return
        entry, key = self._entry_and_key(sig, result.codegen)
        self._store.write(entry, sealed(key, dumps(result._reduce())))

    def _entry_and_key(self, sig: Any, codegen: Any) -> tuple[str, str]:
        makers = (numba.__version__, sys.implementation.cache_tag, codegen.magic_tuple())
        key = repr((self._name, self._source, makers, repr(sig)))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin", key


def compile_module(module: ModuleType, source: str, *, contract: bool, store: Store) -> None:
    """Replace every function of a generated module by its compiled form.

    Strict IEEE arithmetic: no reordering, no fused operations unless `contract`. The compiled kernel, with all that it
    calls, is kept in the store.
    """
    fast: Any = {"contract"} if contract else False
    for name, value in list(vars(module).items()):
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            function: FunctionType = value
            jit = numba.njit(error_model="numpy", fastmath=fast, nogil=True, boundscheck=False)
            setattr(module, name, jit(function))
    module.kernel._cache = _KernelCache(store, module.__name__, source)
