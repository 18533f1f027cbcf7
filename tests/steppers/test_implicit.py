"""Implicit one-step methods: order, stiff problems with published solutions, what they evaluate, and how they fail."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dynlib import (
    Model,
    ModelError,
    NumericsWarning,
    Sim,
    StepperSpec,
    build,
    get_stepper,
    ode_model,
    select_steppers,
)
from dynlib.cli.main import main
from dynlib.compile import matrices
from dynlib.steppers.dirk import Diagonal
from dynlib.steppers.rosenbrock import Rosenbrock

STIFF = [s for s in select_steppers(kind="ode") if isinstance(s.method, Diagonal | Rosenbrock)]
ADAPTIVE = [s for s in STIFF if s.adaptive]
stiff = pytest.mark.parametrize("spec", STIFF, ids=lambda s: s.name)
adaptive = pytest.mark.parametrize("spec", ADAPTIVE, ids=lambda s: s.name)

KNOWN = ode_model(
    "known", states={"x": 1.0, "y": 0.0}, params={"w": 1.0}, equations={"x": "y*cos(t)", "y": "-w*x*cos(t) + 0*x*x"}
)
LINE = ode_model("line", states={"y": 2.0}, params={"k": 1e6}, equations={"y": "-k*(y - cos(t))"})
ROOT = ode_model("root", states={"x": 0.0, "y": 1.0}, equations={"x": "1 + sqrt(x)", "y": "-y"})
BLOW_UP = ode_model("blow up", states={"x": -3.0}, equations={"x": "1 + x*x"})


def exact(t: np.ndarray | float) -> np.ndarray:
    return np.array([np.cos(np.sin(t)), -np.sin(np.sin(t))])


def test_they_are_registered_as_what_they_are() -> None:
    assert {"rodas5p", "rodas4", "sdirk2", "tr-bdf2a", "kencarp4", "esdirk54"} <= {s.name for s in STIFF}
    assert all(s.stiff and s.family in ("rosenbrock", "dirk") for s in STIFF)
    assert [s.name for s in STIFF if not s.adaptive] == ["sdirk2"]
    assert get_stepper("tr_bdf2a") is get_stepper("tr-bdf2a")


@adaptive
@pytest.mark.parametrize("record", [False, True], ids=["end", "inside"])
def test_order_of_convergence(spec: StepperSpec, record: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of equal size, since no error is too large; the equations of stages are solved to rounding."""
    monkeypatch.setattr(sys.modules["dynlib.compile.advance.newton"], "KAPPA", 1e-17)
    full = build(KNOWN, stepper=spec.name, jit=False, rtol=1e3, atol=1e3)
    errors, sizes = [], [2.0 / n for n in (10, 20, 40)]
    for h in sizes:
        sim = Sim(full)
        sim.run(T=2.0, dt=h, max_step=h, record_dt=0.0313 if record else None)
        res = sim.results()
        assert abs(sim.step - 2.0 / h) <= 1
        found = np.abs(res[["x", "y"]].T - exact(res.t))
        errors.append(float(np.max(found if record else found[:, -1])))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    inside = min(spec.order, spec.interpolant_order + 1)
    assert slope > inside - 0.3 if record else slope == pytest.approx(spec.order, abs=0.4)


@stiff
def test_a_fast_decay_is_over_after_a_step(spec: StepperSpec) -> None:
    """HW II, IV.1: y' = −10⁶ (y − cos t), off the solution that attracts, with steps far beyond the time of decay."""
    sim = Sim(build(LINE, stepper=spec.name, jit=False, **({"rtol": 1e-4, "atol": 1e-4} if spec.adaptive else {})))
    sim.run(T=10.0, dt=0.1)
    raw = sim.raw_results()
    late = raw.t > 0.5
    assert np.max(np.abs(raw.data[late, 0] - np.cos(raw.t[late]))) < 4e-4
    assert sim.step < 400


# IVP Test Set (Mazzia & Magherini 2008); y1, y2, … with solutions at the end
PROBLEMS: dict[str, tuple[list[float], list[str], float, list[float], float]] = {
    "VDPOL": (
        [2.0, 0.0], ["y2", "((1 - y1*y1)*y2 - y1)/1e-6"], 2.0, [1.706167732170483, -0.8928097010247975], 1.0,
    ),
    "ROBER": (
        [1.0, 0.0, 0.0], ["-0.04*y1 + 1e4*y2*y3", "0.04*y1 - 1e4*y2*y3 - 3e7*y2*y2", "3e7*y2*y2"], 1e11,
        [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050], 1e-8,
    ),
    "OREGO": (
        [1.0, 2.0, 3.0], ["77.27*(y2 + y1*(1 - 8.375e-6*y1 - y2))", "(y3 - (1 + y1)*y2)/77.27", "0.161*(y1 - y3)"],
        360.0, [1.000814870318523, 1228.178521549917, 132.0554942846706], 1.0,
    ),
    "HIRES": (
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057],
        [
            "-1.71*y1 + 0.43*y2 + 8.32*y3 + 0.0007", "1.71*y1 - 8.75*y2", "-10.03*y3 + 0.43*y4 + 0.035*y5",
            "8.32*y2 + 1.71*y3 - 1.12*y4", "-1.745*y5 + 0.43*y6 + 0.43*y7",
            "-280*y6*y8 + 0.69*y4 + 1.71*y5 - 0.43*y6 + 0.69*y7", "280*y6*y8 - 1.81*y7", "-280*y6*y8 + 1.81*y7",
        ],
        321.8122,
        [
            0.7371312573325668e-3, 0.1442485726315186e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
            0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
        ],
        1e-4,
    ),
}  # fmt: skip
"""Start, equations, end, published solution there, and atol in units of rtol."""
WITHIN = {"rodas5p": 2.0, "rodas4": 5.0, "kencarp4": 300.0, "esdirk54": 150.0, "tr-bdf2a": 2000.0}
"""Relative error in units of rtol: that of the method, which does not know how errors grow."""


@adaptive
@pytest.mark.parametrize("name", PROBLEMS)
def test_published_solutions_of_stiff_problems(spec: StepperSpec, name: str) -> None:
    start, equations, end, solution, atol = PROBLEMS[name]
    names = [f"y{k}" for k in range(1, len(start) + 1)]
    model = ode_model(name, states=dict(zip(names, start)), equations=dict(zip(names, equations)))
    rtol = 1e-5
    sim = Sim(build(model, stepper=spec.name, jit=False, rtol=rtol, atol=rtol * atol))
    sim.run(T=end, record=False)
    assert np.max(np.abs(sim.state_vector() / solution - 1)) < WITHIN[spec.name] * rtol
    assert sim.step < 3000


# ---- what is evaluated


def counted(module: ModuleType, names: list[str], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The calls of functions of an interpreted kernel."""
    calls: Counter[str] = Counter()

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls[name] += 1
            return function(*arguments)

        return call

    for name in names:
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    return calls


def hard(model: Model, spec: StepperSpec) -> tuple[Sim, ModuleType]:
    """A session that rejects steps."""
    full = build(model, stepper=spec.name, jit=False, rtol=1e-4, atol=1e-6)
    return Sim(full), full.kernel.module


STIFF_VDP = ode_model(
    "vdp", states={"x": 2.0, "y": 0.0}, equations={"x": "y + 0*sin(t)", "y": "100*((1 - x*x)*y - x + 0.1*cos(t))"}
)


@adaptive
def test_the_jacobian_is_evaluated_once_a_step(spec: StepperSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where several attempts are made at it; a step that stays pending is begun anew."""
    sim, module = hard(STIFF_VDP, spec)
    calls = counted(module, ["jacobian"], monkeypatch)
    sim.run(T=3.0)
    assert int(sim.state["rejected"][0]) > 3
    assert calls["jacobian"] - sim.step in (0, 1)


@pytest.mark.parametrize("spec", [s for s in ADAPTIVE if isinstance(s.method, Rosenbrock)], ids=lambda s: s.name)
def test_a_rosenbrock_method_evaluates_no_slope_twice(spec: StepperSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    sim, module = hard(STIFF_VDP, spec)
    calls = counted(module, ["rhs", "time_slope"], monkeypatch)
    sim.run(T=3.0)
    rejected = int(sim.state["rejected"][0])
    begun = calls["time_slope"]
    assert begun - sim.step in (0, 1)
    assert rejected > 3
    # the first stage serves all attempts; one slope inside each accepted step; one more where the first step is chosen
    least = sim.step * (spec.stages + 1) + rejected * (spec.stages - 1) + 1
    pending = (begun - sim.step) * 3 * (spec.stages + 1)
    assert least <= calls["rhs"] <= least + rejected + pending


# ---- failures


@adaptive
def test_a_singular_jacobian_is_said_to_be_one(spec: StepperSpec) -> None:
    """The slope of √x at 0 is infinite: no size of the step helps, and the session stays where it is."""
    sim = Sim(build(ROOT, stepper=spec.name, jit=False))
    with pytest.warns(NumericsWarning, match="NEWTON_FAILED at t = 0: the equations of an implicit step"):
        sim.run(T=1.0)
    assert sim.step == 0
    np.testing.assert_array_equal(sim.state_vector(), [0.0, 1.0])


def test_a_fixed_step_whose_equations_have_no_solution_ends_the_run() -> None:
    """x' = 1 + x² from −3 with steps of 0.5: before the pole, the implicit equation loses its solution."""
    sim = Sim(build(BLOW_UP, stepper="sdirk2", dt=0.5, jit=False))
    with pytest.warns(NumericsWarning, match="NEWTON_FAILED"):
        sim.run(T=20.0)
    raw = sim.raw_results()
    assert sim.step >= 2
    assert raw.t[: sim.step + 1].tolist() == [0.5 * k for k in range(sim.step + 1)]
    assert np.all(np.isfinite(raw.data))


@adaptive
def test_a_pole_ends_the_run_with_what_is_before_it(spec: StepperSpec) -> None:
    sim = Sim(build(BLOW_UP, stepper=spec.name, jit=False, rtol=1e-6, atol=1e-6))
    with pytest.warns(NumericsWarning, match="at t = 2.8"):
        sim.run(T=20.0)
    raw = sim.raw_results()
    assert raw.t[-1] == pytest.approx(math.pi / 2 + math.atan(3.0), abs=2e-3)
    assert np.all(np.isfinite(raw.data))


@stiff
def test_models_without_a_jacobian_are_refused_at_once(spec: StepperSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "MAX_FULL", 5)
    model = ode_model("wide", states={"u[6]": 1.0}, equations={"u[i]": "-sum(u[j] for j in range(6))"})
    with pytest.raises(
        ModelError, match=rf"wide: stepper '{spec.name}' needs the Jacobian .* 5 rows.*explicit stepper"
    ):
        build(model, stepper=spec.name, jit=False)


def test_a_name_with_a_hyphen_goes_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Model file, command line and snapshot file."""
    path = tmp_path / "model.toml"
    path.write_text(
        '[model]\ntype = "ode"\n[states]\nx = 1.0\n[equations.rhs]\nx = "-x"\n[sim]\nstepper = "tr-bdf2a"\n'
    )
    assert build(path, jit=False).stepper.name == "tr-bdf2a"
    end = tmp_path / "end.npz"
    assert main(["run", str(path), "--stepper", "trbdf2", "--no-jit", "--T", "1", "--snapshot", str(end)]) == 0
    assert main(["run", str(end), "--no-jit", "--T", "2"]) == 0
    sim = Sim(build(path, jit=False))
    sim.import_snapshot(end)
    sim.run(T=2.0, resume=True)
    assert sim.state_vector()[0] == pytest.approx(math.exp(-2.0), rel=1e-3)
