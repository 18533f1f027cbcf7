"""Simulate dynamical systems that can be stopped, snapshotted, branched, saved and resumed, to the last bit."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dynlib.version import VERSION as __version__

_PUBLIC = {
    "dynlib.analysis.lyapunov": "LyapunovExponents lyapunov_exponents",
    "dynlib.errors": (
        "CacheWarning ConcurrentUseError ConfigError DynlibError ExportError ExpressionError ModelError "
        "NumericsWarning PinMismatchError ReadOnlyError ResultsFileError ResumeError SnapshotError SnapshotFileError "
        "StoreBusyError StoreError UnknownNameError"
    ),
    "dynlib.ensembles.ensemble": "ensemble",
    "dynlib.ensembles.result": "EnsembleInterrupt EnsembleResult Statistics",
    "dynlib.session.full_model": "FullModel build",
    "dynlib.session.open_run": "StoredRun open_run",
    "dynlib.session.sim": "RunOutcome Sim open_snapshot setup",
    "dynlib.session.snapshot_file": "SnapshotMeta inspect_snapshot read_results",
    "dynlib.session.snapshots": "Snapshot",
    "dynlib.results": "Results ResultsView Segment",
    "dynlib.results.export": "load_results",
    "dynlib.runtime.driver": "Buffers",
    "dynlib.runtime.state": "SessionPins SessionState",
    "dynlib.spec.locations": "builtin_models load_model map_model ode_model sde_model",
    "dynlib.spec.tangent": "with_lyapunov with_tangent",
    "dynlib.spec.model": "Model",
    "dynlib.spec.observer": "Observer extrema running_mean",
    "dynlib.spec.observer_function": "observer",
    "dynlib.status": "Status",
    "dynlib.steppers": "StepperSpec get_stepper list_steppers select_steppers",
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = [*sorted(_HOME), "__version__"]

if TYPE_CHECKING:
    from dynlib.analysis.lyapunov import LyapunovExponents, lyapunov_exponents
    from dynlib.ensembles.ensemble import ensemble
    from dynlib.ensembles.result import EnsembleInterrupt, EnsembleResult, Statistics
    from dynlib.errors import (
        CacheWarning,
        ConcurrentUseError,
        ConfigError,
        DynlibError,
        ExportError,
        ExpressionError,
        ModelError,
        NumericsWarning,
        PinMismatchError,
        ReadOnlyError,
        ResultsFileError,
        ResumeError,
        SnapshotError,
        SnapshotFileError,
        StoreBusyError,
        StoreError,
        UnknownNameError,
    )
    from dynlib.results import Results, ResultsView, Segment
    from dynlib.results.export import load_results
    from dynlib.runtime.driver import Buffers
    from dynlib.runtime.state import SessionPins, SessionState
    from dynlib.session.full_model import FullModel, build
    from dynlib.session.open_run import StoredRun, open_run
    from dynlib.session.sim import RunOutcome, Sim, open_snapshot, setup
    from dynlib.session.snapshot_file import SnapshotMeta, inspect_snapshot, read_results
    from dynlib.session.snapshots import Snapshot
    from dynlib.spec.locations import builtin_models, load_model, map_model, ode_model, sde_model
    from dynlib.spec.model import Model
    from dynlib.spec.observer import Observer, extrema, running_mean
    from dynlib.spec.observer_function import observer
    from dynlib.spec.tangent import with_lyapunov, with_tangent
    from dynlib.status import Status
    from dynlib.steppers import StepperSpec, get_stepper, list_steppers, select_steppers


def __getattr__(name: str) -> Any:
    """Names are imported when first used, so that the command line starts at once."""
    if name not in _HOME:
        from dynlib.errors import suggest

        raise AttributeError(f"module 'dynlib' has no attribute {name!r}{suggest(name, __all__)}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
