"""Every public call, with arguments of the wrong kind in every place: what comes of it is one of dynlib's errors.

And nothing else: the session stays as it was. `CALLS` is a table of calls that work. In each, one argument after the
other is replaced by each of `WRONG`. A call that then works must be one that `FINE` says takes such a thing. A new
public name is missed here until it has its row.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import Struct

import dynlib
import dynlib.plot

WRONG: dict[str, Any] = {
    "None": None,
    "a text": "nonsense",
    "bytes": b"\xff",
    "NaN": float("nan"),
    "infinity": float("inf"),
    "negative": -1,
    "a fraction": 2.5,
    "a complex number": 1j,
    "a huge number": 10**400,
    "an object": object(),
    "a ragged list": [[1.0, 2.0], [3.0]],
    "a matrix": np.zeros((2, 3)),
    "an unknown name": {"nope": 1.0},
    "no name": {1: 2.0},
}
NEURON = "builtin://ode/izhikevich"
MAP = "builtin://map/logistic"


class Bench:
    """Things that the calls need, made anew for each of them."""

    def __init__(self) -> None:
        self.sim = dynlib.setup(NEURON, jit=False, observers=[dynlib.running_mean("v", "mean")])
        self.sim.run(T=2.0, tag="one")
        self.sim.create_snapshot("two")
        self.view = self.sim.results()
        self.full = self.sim.full_model
        self.state = self.sim.state
        self.plane = ("v", "u")


def _calls() -> dict[str, Callable[[Bench], tuple[Callable[..., Any], dict[str, Any]]]]:
    model = {"name": "m", "states": {"x": 1.0}, "equations": {"x": "-k*x"}, "params": {"k": 1.0}}
    run = {"T": 3.0, "N": None, "t0": 0.0, "dt": 0.5, "ic": {"v": -60.0}, "params": {"I": 1.0}, "seed": None,
           "record": True, "record_interval": 2, "record_dt": None, "record_vars": ["v"], "transient": 0.5,
           "resume": False, "tag": "a", "max_steps": 100, "progress": False, "store": None,
           "checkpoint": "5min"}  # fmt: skip
    window = {"names": ("v", "u"), "x": (-80.0, 30.0), "y": (-20.0, 20.0), "params": {"I": 1.0}, "ic": {"v": 1.0},
              "t": 0.0, "points": 3, "ax": None}  # fmt: skip
    point = {"t": 0.0, "y": {"v": 0.0}, "params": {"I": 0.0}}
    return {
        "build": lambda b: (dynlib.build, {"model": NEURON, "stepper": "rk4", "dt": 0.1, "jit": False,
                                           "math": "strict", "mods": (), "observers": ()}),
        "setup": lambda b: (dynlib.setup, {"model": NEURON, "stepper": "rk4", "dt": 0.1, "jit": False,
                                           "math": "strict", "mods": (), "observers": ()}),
        "builtin_models": lambda b: (dynlib.builtin_models, {}),
        "load_model": lambda b: (dynlib.load_model, {"location": NEURON, "mods": ()}),
        "ode_model": lambda b: (dynlib.ode_model, model),
        "map_model": lambda b: (dynlib.map_model, model),
        "sde_model": lambda b: (dynlib.sde_model, {**model, "noise": {"x": "0.1"}}),
        "ensemble": lambda b: (dynlib.ensemble, {
            "model": MAP, "params": {"r": [2.0, 3.0]}, "ic": {"x": 0.2}, "T": None, "N": 4, "t0": 0.0, "dt": None,
            "stepper": None, "transient": 0.0, "statistics": False, "histograms": {"x": (0.0, 1.0, 4)},
            "record_interval": 2, "record_dt": None, "record_vars": ["x"], "max_steps": None, "seed": None,
            "threads": 1, "jit": False,
            "math": "strict", "progress": False}),
        "lyapunov_exponents": lambda b: (dynlib.lyapunov_exponents, {
            "model": MAP, "T": None, "N": 20, "exponents": 1, "transient": 0.0, "ic": {"x": 0.2},
            "params": {"r": 3.0}, "stepper": None, "dt": None, "samples": 4, "jit": False, "progress": False}),
        "extrema": lambda b: (dynlib.extrema, {"variable": "v", "name": "e"}),
        "running_mean": lambda b: (dynlib.running_mean, {"variable": "v", "name": "e"}),
        "observer": lambda b: (
            lambda name, read: dynlib.observer(name=name, read=read)(counted), {"name": "e", "read": {"twice": "2*n"}}
        ),
        "get_stepper": lambda b: (dynlib.get_stepper, {"name": "rk4"}),
        "list_steppers": lambda b: (dynlib.list_steppers, {"kind": "ode"}),
        "select_steppers": lambda b: (dynlib.select_steppers, {"kind": "ode", "adaptive": True,
                                                               "family": "explicit_rk", "min_order": 4}),
        "inspect_snapshot": lambda b: (dynlib.inspect_snapshot, {"path": exported(b)}),
        "open_snapshot": lambda b: (dynlib.open_snapshot, {"path": exported(b), "jit": False, "accept": ()}),
        "read_results": lambda b: (dynlib.read_results, {"path": exported(b)}),
        "open_run": lambda b: (dynlib.open_run, {"path": stored()}),
        "with_lyapunov": lambda b: (dynlib.with_lyapunov, {"model": dynlib.load_model(MAP), "exponents": 1}),
        "with_tangent": lambda b: (dynlib.with_tangent, {"model": dynlib.load_model(MAP), "vectors": 1}),
        "Buffers": lambda b: (dynlib.Buffers, {"rows": 10, "logs": 10, "steps": 10, "foresee": True}),
        "Observer": lambda b: (dynlib.Observer, {"name": "o", "memory": {"n": 0.0}, "update": {"n": "n + 1"}}),
        "Sim": lambda b: (dynlib.Sim, {"model": b.full, "buffers": None}),
        "Sim.run": lambda b: (b.sim.run, run),
        "Sim.resume_or_start": lambda b: (b.sim.resume_or_start, {"store": "store", "T": 3.0}),
        "Sim.name_segment": lambda b: (b.sim.name_segment, {"which": "one", "name": "b"}),
        "Sim.name_last_segment": lambda b: (b.sim.name_last_segment, {"name": "b"}),
        "Sim.assign": lambda b: (b.sim.assign, {"I": 1.0, "v": 2.0, "clear_history": False}),
        "Sim.observer": lambda b: (b.sim.observer, {"name": "mean"}),
        "Sim.list_presets": lambda b: (b.sim.list_presets, {"pattern": "*"}),
        "Sim.apply_preset": lambda b: (b.sim.apply_preset, {"name": "bursting"}),
        "Sim.add_preset": lambda b: (b.sim.add_preset, {"name": "p", "params": {"I": 1.0}, "states": {"v": 1.0},
                                                        "overwrite": False}),
        "Sim.load_preset": lambda b: (b.sim.load_preset, {"pattern": "p", "path": shelf(b), "on_conflict": "keep"}),
        "Sim.save_preset": lambda b: (b.sim.save_preset, {"name": "bursting", "path": "q.toml", "overwrite": False}),
        "Sim.create_snapshot": lambda b: (b.sim.create_snapshot, {"name": "s", "description": "d"}),
        "Sim.rename_snapshot": lambda b: (b.sim.rename_snapshot, {"old": "two", "new": "three"}),
        "Sim.delete_snapshot": lambda b: (b.sim.delete_snapshot, {"name": "two"}),
        "Sim.fork": lambda b: (b.sim.fork, {"name": "s", "description": "d", "rng": "continue"}),
        "Sim.branch": lambda b: (b.sim.branch, {"name": "s", "description": "d", "rng": "continue"}),
        "Sim.lineage": lambda b: (b.sim.lineage, {"snapshot": "two"}),
        "Sim.tree": lambda b: (lambda other: b.sim.tree(other), {"other": b.sim}),
        "Sim.diff": lambda b: (b.sim.diff, {"a": "two", "b": "initial"}),
        "Sim.at": lambda b: (b.sim.at, {"t": 1.0}),
        "Sim.record_again": lambda b: (b.sim.record_again, {"record_vars": ["v"], "t0": 0.5, "t1": 1.0,
                                                            "record_interval": 2, "record_dt": None}),
        "Sim.verify_restart": lambda b: (b.sim.verify_restart, {"T": 3.0, "cuts": 1, "process": False}),
        "Sim.replay": lambda b: (b.sim.replay, {"snapshot": "two"}),
        "Sim.snapshot": lambda b: (b.sim.snapshot, {"name": "two"}),
        "Sim.compat_check": lambda b: (b.sim.compat_check, {"snapshot": "two"}),
        "Sim.reset": lambda b: (b.sim.reset, {"name": "two"}),
        "Sim.export_snapshot": lambda b: (b.sim.export_snapshot, {
            "path": "a.npz", "source": "snapshot", "name": "two", "results": False, "durable": False}),
        "Sim.inspect_snapshot": lambda b: (b.sim.inspect_snapshot, {"path": exported(b)}),
        "Sim.import_snapshot": lambda b: (b.sim.import_snapshot, {"path": exported(b), "accept": ()}),
        "Sim.adopt_snapshot": lambda b: (b.sim.adopt_snapshot, {"source": "two", "rename": {}, "fill": {},
                                                                "dry_run": True}),
        "Sim.full_model": lambda b: (lambda other: setattr(b.sim, "full_model", other), {"other": b.full}),
        "FullModel.jacobian": lambda b: (b.full.jacobian, point),
        "FullModel.jacobian_elements": lambda b: (b.full.jacobian_elements, point),
        "FullModel.rhs": lambda b: (b.full.rhs, point),
        "FullModel.time_derivative": lambda b: (b.full.time_derivative, point),
        "FullModel.parameter_derivative": lambda b: (b.full.parameter_derivative, {"name": "I", **point}),
        "FullModel.jacobian_at": lambda b: (b.full.jacobian_at, {"state": b.state}),
        "FullModel.fastest_decay_at": lambda b: (b.full.fastest_decay_at, {"state": b.state}),
        "ResultsView.at": lambda b: (b.view.at, {"t": 1.0}),
        "ResultsView.segment": lambda b: (b.view.segment, {"which": "one"}),
        "ResultsView.event": lambda b: (b.view.event, {"name": "spike", "tag": None}),
        "ResultsView.[]": lambda b: (lambda name: b.view[name], {"name": "v"}),
        "ResultsView.between": lambda b: (b.view.between, {"t0": 0.0, "t1": 1.0}),
        "ResultsView.resample": lambda b: (b.view.resample, {"dt": 0.5}),
        "ResultsView.save": lambda b: (b.view.save, {"path": "results.npz"}),
        "load_results": lambda b: (dynlib.load_results, {"path": saved(b), "most_bytes": 10**6}),
        "EventView.[]": lambda b: (lambda label: b.view.event("spike")[label], {"label": "t"}),
        "EnsembleResult.[]": lambda b: (lambda name: dynlib.ensemble(MAP, N=1, jit=False)[name], {"name": "x"}),
        "StepperSpec.configure": lambda b: (dynlib.get_stepper("rk45").configure, {"rtol": 1e-3, "atol": 1e-3}),
        "StoredRun.results": lambda b: (dynlib.open_run(stored()).results, {"first": 0, "last": 1}),
        "StoredRun.sim": lambda b: (dynlib.open_run(stored()).sim, {"jit": False}),
        "StoredRun.resume": lambda b: (dynlib.open_run(stored()).resume, {
            "T": 3.0, "N": None, "max_steps": 5, "checkpoint": "5min", "progress": False, "jit": False}),
        "plot.bifurcation": lambda b: (dynlib.plot.bifurcation, {
            "parameter": np.zeros(3), "samples": np.zeros((2, 3)), "name": "r", "state": "x", "ax": None}),
        "plot.cobweb": lambda b: (dynlib.plot.cobweb, {**orbit(), "ax": None, "points": 5}),
        "plot.compare": lambda b: (dynlib.plot.compare, {"branches": {"a": b.view}, "name": "v", "ax": None}),
        "plot.legend_above": lambda b: (dynlib.plot.legend_above, {"ax": axes(), "columns": 2}),
        "plot.mark_points": lambda b: (dynlib.plot.mark_points, {"points": [(0.0, 1.0, "a")], "ax": None}),
        "plot.nullclines": lambda b: (dynlib.plot.nullclines, {"full": b.full, **window}),
        "plot.vector_field": lambda b: (dynlib.plot.vector_field, {"full": b.full, **window}),
        "plot.phase_portrait": lambda b: (dynlib.plot.phase_portrait, {
            "results": b.view, "names": b.plane, "ax": None, "start": True}),
        "plot.raster": lambda b: (dynlib.plot.raster, {"results": b.view, "event": "spike", "ax": None}),
        "plot.return_map": lambda b: (dynlib.plot.return_map, {"values": b.view, "name": "v", "ax": None}),
        "plot.time_series": lambda b: (dynlib.plot.time_series, {
            "results": b.view, "name": "v", "ax": None, "label": "v"}),
        "plot.tree": lambda b: (dynlib.plot.tree, {"tree": b.sim.tree(), "ax": None}),
    }  # fmt: skip


def counted(n=0.0):  # type: ignore[no-untyped-def]
    n = n + 1


def exported(bench: Bench) -> str:
    bench.sim.export_snapshot("kept.npz", results=True, durable=False)
    return "kept.npz"


def shelf(bench: Bench) -> str:
    if not Path("shelf.toml").exists():
        bench.sim.add_preset("p", params={"I": 1.0})
        bench.sim.save_preset("p", "shelf.toml")
    return "shelf.toml"


def saved(bench: Bench) -> str:
    """A file of results."""
    return str(bench.view.save("saved.npz")[0])


def stored() -> str:
    if not Path("stored").exists():
        dynlib.setup(NEURON, jit=False).run(T=2.0, store="stored")
    return "stored"


def orbit() -> dict[str, Any]:
    sim = dynlib.setup(MAP, jit=False)
    sim.run(N=5)
    return {"full": sim.full_model, "results": sim.results()}


def axes() -> Any:
    from matplotlib.figure import Figure

    return Figure().add_subplot()


CALLS = _calls()
FINE: dict[str, set[str]] = {
    "None": {"Sim.lineage.snapshot", "observer.name", "observer.read"},
    "a text": {
        *("tag", "store", "description", "label", "state", "pattern", "variable", "Sim.name_segment.name"),
        *("Sim.name_last_segment.name", "Sim.add_preset.name", "Sim.create_snapshot.name", "Sim.rename_snapshot.new"),
        *(
            "Sim.fork.name",
            "Sim.branch.name",
            "ode_model.name",
            "map_model.name",
            "sde_model.name",
            "extrema.name",
            "running_mean.name",
        ),
        *(
            "observer.name",
            "Observer.name",
            "plot.bifurcation.name",
            "Sim.save_preset.path",
            "Sim.export_snapshot.path",
        ),
    },
    "infinity": {"ResultsView.between.t1", "rtol", "atol"},
    "negative": {"t0", "t", "I", "v", "which", "min_order"},
    "a fraction": {"T", "dt", "t", "t0", "t1", "I", "v", "transient", "rtol", "atol"},
    "a huge number": {"min_order", "most_bytes"},
    "an unknown name": {"observer.read"},
    "a matrix": {"ResultsView.at.t", "plot.bifurcation.samples"},
}
"""What may be given: by kind, the name of an argument, or of an argument of one call."""
RETURNED = {
    *("EnsembleResult", "FullModel", "LyapunovExponents", "Model", "Results", "ResultsView", "RunOutcome", "Segment"),
    *("SessionPins", "SessionState", "Snapshot", "SnapshotMeta", "Statistics", "Status", "StepperSpec", "StoredRun"),
}
"""Classes of objects that calls return; nobody makes them by hand."""
WITHIN = {
    *("FullModel.state_at_root", "FullModel.new_recording", "FullModel.advance", "FullModel.kernel_for"),
    *("Model.quantity", "StepperSpec.takes", "StepperSpec.compiled_for"),
    *("SessionState.same_bits", "SessionState.moved", "SessionState.edited", "SessionState.recorded"),
    *("SessionState.restarted",),
}
"""Methods that take what the library itself hands over."""


def public_calls() -> set[str]:
    """Everything public that takes an argument."""
    calls: dict[str, Any] = {f"plot.{name}": getattr(dynlib.plot, name) for name in dynlib.plot.__all__}
    for name in set(dynlib.__all__) - {"__version__"}:
        thing = getattr(dynlib, name)
        if not inspect.isclass(thing):
            calls[name] = thing
        elif not issubclass(thing, BaseException):
            calls |= {} if name in RETURNED else {name: thing}
            for method in (m for m in vars(thing) if not m.startswith("_")):
                if callable(getattr(thing, method)) and name != "Status":
                    calls[f"{name}.{method}"] = getattr(thing, method)
    return {name for name, call in calls.items() if set(inspect.signature(call).parameters) - {"self"}}


def test_every_public_call_has_its_row() -> None:
    assert public_calls() - WITHIN <= CALLS.keys()
    assert public_calls() > WITHIN


def refused(call: Callable[..., Any], given: dict[str, Any], key: str, kind: str) -> bool:
    """Whether a call with one argument replaced is refused by an error of dynlib. Another error is passed on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(**{**given, key: WRONG[kind]})
    except dynlib.DynlibError:
        return True
    except Exception as problem:
        problem.add_note(f"by {key} = {kind}")
        raise
    return False


def optional(name: str) -> set[str]:
    """The arguments that are None where they are not given."""
    call, _ = CALLS[name](Bench())
    return {p.name for p in inspect.signature(call).parameters.values() if p.default is None}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_an_error_of_dynlib(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, given = CALLS[name](Bench())
    call(**given)
    maybe_none = optional(name)
    bench = Bench()
    call, given = CALLS[name](bench)
    for key in given:
        for kind in WRONG:
            before = bench.sim.session_state_summary()
            if refused(call, given, key, kind):
                assert bench.sim.session_state_summary() == before
                continue
            fine = kind == "None" and key in maybe_none
            fine = fine or bool({key, f"{name}.{key}"} & FINE.get(kind, set()))
            assert fine, f"{name}({key}={kind}) passes silently"
            bench = Bench()
            call, given = CALLS[name](bench)


def test_a_wrong_keyword_is_an_error_that_suggests_the_right_one() -> None:
    for name, wrong, right in (
        ("Sim.fork", "nmae", "name"), ("ensemble", "recordinterval", "record_interval"),
        ("Sim.at", "tt", "t"), ("Sim.run", "record_dts", "record_dt"),
    ):  # fmt: skip
        call, given = CALLS[name](Bench())
        with pytest.raises(dynlib.UnknownNameError, match=f"did you mean '{right}'"):
            call(**given, **{wrong: 1.0})


def contents(thing: Any) -> dict[str, Any]:
    """The attributes of an object, by identity."""
    names = thing.__struct_fields__ if isinstance(thing, Struct) else vars(thing)
    return {name: id(getattr(thing, name)) for name in names}


def test_what_cannot_be_set_is_refused_with_the_call_that_sets_it() -> None:
    b = Bench()
    for thing, name, remedy in (
        (b.sim, "I", "assign(I=15)"), (b.sim, "v", "assign(v=15)"), (b.sim, "dt", "argument of setup() and run()"),
        (b.sim, "T", "argument of run()"), (b.sim, "t", "reset()"), (b.sim, "vv", "did you mean 'v'"),
        (b.full, "I", "sim.assign(I=15)"), (b.full.model, "I", "sim.assign(I=15)"), (b.state, "y", "sim.assign(y=15)"),
        (b.sim.snapshot("two"), "I", "sim.assign(I=15)"), (b.view, "v", ".copy()"), (b.view.raw, "data", ".copy()"),
        (b.view.event("spike"), "t", ".copy()"),
    ):  # fmt: skip
        before = contents(thing)
        with pytest.raises(dynlib.ReadOnlyError, match=re.escape(remedy)):
            setattr(thing, name, 15)
        assert contents(thing) == before
    with pytest.raises(AttributeError, match="never changes"):
        del b.full.model.name


def test_too_many_arguments_without_a_name() -> None:
    b = Bench()
    with pytest.raises(
        dynlib.ConfigError,
        match=re.escape("assign('I', 15) has more values than places; name them, as in assign(I=…)"),
    ):
        b.sim.assign("I", 15)
    with pytest.raises(dynlib.ConfigError, match=re.escape("as in setup(stepper=…)")):
        dynlib.setup(NEURON, "rk4")
