"""A compiled function: translated, or found in the cache, when it is called for the first time."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType, ModuleType
from typing import Any

from dynlib.compile.cache import Store, sealed, unsealed
from dynlib.compile.native.loading import description, loaded
from dynlib.compile.native.types import NOTHING, type_of_argument


class NativeFunction:
    """What stands in the place of a function of a generated module; it takes positional arguments.

    The types of the first call are those of all calls. Arrays are in C order; those that are written to do not overlap
    with others, which nobody checks. Raises `TypeError`, `ValueError` and `BufferError` for arguments of other kinds,
    before anything is computed.
    """

    def __init__(self, function: FunctionType, module: ModuleType, source: str, contract: bool, store: Store) -> None:
        self.__name__, self.__doc__ = function.__name__, function.__doc__
        self._function, self._module, self._source = function, module, source
        self._contract, self._store = contract, store
        self._enter: Callable[[tuple[Any, ...]], Any] | None = None
        self._lock = threading.Lock()
        self.from_cache: bool | None = None
        """Whether the code came from disk; None before the first call."""

    def __call__(self, *args: Any) -> Any:
        enter = self._enter
        if enter is None:
            enter = self._prepare(args)
        return enter(args)

    def _prepare(self, args: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], Any]:
        with self._lock:
            if self._enter is not None:
                return self._enter
            kinds = tuple(type_of_argument(a) for a in args)
            name, key = self.entry(kinds)
            code = unsealed(key, self._store.read(name))
            if code is not None:
                with suppress(OSError):  # it was made where shared objects could be loaded
                    self._enter = loaded(code)
            self.from_cache = self._enter is not None
            if self._enter is None:
                code, self._enter = self._compiled(kinds)
                self._store.write(name, sealed(key, code))
            return self._enter

    def _compiled(self, kinds: tuple[Any, ...]) -> tuple[bytes, Callable[[tuple[Any, ...]], Any]]:
        """The code for arguments of these types, as it is kept, and its entry."""
        from dynlib.compile.native.machine import compiled, linked  # LLVM is loaded only to compile

        code = compiled(self.ir(kinds))
        shared = linked(code)
        with suppress(OSError):
            return shared, loaded(shared)
        return code, loaded(code)

    def entry(self, kinds: tuple[Any, ...]) -> tuple[str, str]:
        """The name of the entry in the store for arguments of these types, and all that it depends on."""
        key = repr((self._module.__name__, self._source, self._contract, description(), kinds))
        return f"{self._module.__name__}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin", key

    def ir(self, kinds: tuple[Any, ...]) -> str:
        """The function for arguments of these types in LLVM IR, before it is optimised."""
        from dynlib.compile.native.entry import entry
        from dynlib.compile.native.translate import Translation

        translation = Translation(self._module, self._source, contract=self._contract)
        outer = translation.function(self._function, kinds, outer=True)
        return translation.text() + "\n" + entry(outer.name, kinds, outer.written, outer.returned or NOTHING)


def compile_module(module: ModuleType, source: str, *, contract: bool, store: Store) -> None:
    """Replace the function `kernel` of a generated module by its compiled form, which holds all that it calls.

    Strict IEEE arithmetic: no reordering, no fused operations unless `contract`. The code is kept in the store.
    """
    vars(module)["kernel"] = NativeFunction(vars(module)["kernel"], module, source, contract, store)
