"""A `Kernel`: the source, layout and callable for one model under one stepper."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from dynlib.compile import elementary
from dynlib.compile.cache import Store, cache_folder, load_module
from dynlib.compile.layout import Layout, layout_of
from dynlib.compile.native.function import NativeFunction, compile_module
from dynlib.compile.skeleton import kernel_source
from dynlib.errors import ConfigError
from dynlib.spec.model import Model
from dynlib.spec.observer import BoundObserver
from dynlib.steppers import StepperSpec, list_steppers

MATH_MODES = ("strict", "contract")
_MEANING = (
    "elementary.py", "vectorised.py", "differences.py", "factorization.py", "roots.py",
    "native/translate.py", "native/types.py", "native/entry.py", "native/machine.py", "native/loading.py",
)  # fmt: skip
"""Beside the source, what the compiled code is made of."""
_LOADING = threading.Lock()


class Kernel(Struct, frozen=True):
    """What runs a model: `function` advances the three blocks of a state in place.

    `source` is the generated module; with `jit=False` the same file runs as plain Python, to the same bits.
    """

    source: str
    layout: Layout
    module: ModuleType
    jit: bool
    math: str
    tables: NDArray[np.int64]
    """Where the elements of sparse matrices lie: what the function looks up and the source does not say."""

    @property
    def function(self) -> Callable[..., int]:
        """The kernel; its arguments are those of the skeleton."""
        function: Callable[..., int] = self.module.kernel
        return function

    @property
    def path(self) -> Path:
        """The file of the generated module; missing only where nothing can be written."""
        return Path(str(self.module.__file__))

    @property
    def from_cache(self) -> bool | None:
        """Whether the compiled code came from disk; None before the first run or when interpreted."""
        function: Any = self.module.kernel
        return function.from_cache if isinstance(function, NativeFunction) else None


def build_kernel(
    model: Model,
    stepper: StepperSpec,
    *,
    jit: bool = True,
    math: str = "strict",
    observers: tuple[BoundObserver, ...] = (),
) -> Kernel:
    """Generate, load and (unless `jit=False`) compile the kernel. Raises `ConfigError`."""
    if not isinstance(math, str) or math not in MATH_MODES:
        raise ConfigError(f"math must be 'strict' or 'contract', not {math!r}")
    if model.kind not in stepper.kinds:
        fitting = list_steppers(kind=model.kind)
        takes = f"{', '.join(map(repr, fitting[:4]))}{', …' if len(fitting) > 4 else ''}"
        raise ConfigError(
            f"stepper {stepper.name!r} is for models of type {' and '.join(map(repr, stepper.kinds))}; "
            f"{model.name!r} is of type {model.kind!r} and takes {takes}"
        )
    layout = layout_of(model, stepper, observers)
    source, tables = kernel_source(model, stepper, layout, observers)
    return Kernel(source, layout, generated_module(source, jit, math), jit, math, tables)


def generated_module(source: str, jit: bool = False, math: str = "strict") -> ModuleType:
    """The module with this source; what is to be compiled must have a function `kernel`."""
    with _LOADING:  # one module for each source, also if several threads ask at once
        return _loaded(source, jit, math)


@cache
def _meaning() -> bytes:
    """The text of what compiled code is made of beside the source."""
    return b"".join((Path(str(elementary.__file__)).parent / file).read_bytes() for file in _MEANING)


@lru_cache(maxsize=256)
def _loaded(source: str, jit: bool, math: str) -> ModuleType:
    digest = hashlib.sha256(source.encode() + _meaning() + math.encode()).hexdigest()[:24]
    store = Store(cache_folder())
    module = load_module(source, f"kernel_{digest}", jit, store)
    if jit:
        compile_module(module, source, contract=math == "contract", store=store)
    return module
