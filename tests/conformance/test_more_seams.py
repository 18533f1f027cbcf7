"""The decision "uninterrupted means bit for bit", on further ground: dtypes, clocks, recordings, forms of code."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from conformance.cases import CASES, NARROW, full, horizon
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynlib import Buffers, FullModel, Sim, Status, build, get_stepper, list_steppers, load_model, ode_model

STEPPERS = [case for case in CASES if case[1] == "both"]
ODE = [stepper for stepper, _ in STEPPERS if "ode" in get_stepper(stepper).kinds]
SOME = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
FRACTIONS = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=4, unique=True).map(
    lambda found: sorted({round(f, 9) for f in found})
)


def recorded(sim: Sim) -> list[bytes]:
    """Raw bytes of all samples but those at stops, and of the event log."""
    raw = sim.raw_results()
    keep = ~raw.at_stop
    parts = [raw.t[keep], raw.step[keep], raw.data[keep], raw.log.t, raw.log.step, raw.log.event, raw.log.values]
    return [np.ascontiguousarray(part).tobytes() for part in parts]


def compare(kernel: FullModel, start: float, end: float, fractions: list[float], **how: Any) -> None:
    single, split = Sim(kernel), Sim(kernel)
    single.run(T=end, **how)
    split.run(T=start + fractions[0] * (end - start), **how)
    for fraction in (*fractions[1:], 1.0):
        t = start + fraction * (end - start)
        if t > split.t + 1e-15 * abs(split.t):
            split.run(T=t, resume=True)
    assert split.state.same_bits(single.state)
    assert recorded(split) == recorded(single)
    assert split.raw_results().at_stop.sum() <= len(fractions) + 1


@pytest.mark.parametrize(("stepper", "kind"), NARROW)
@SOME
@given(fractions=FRACTIONS)
def test_float32_models_continue_exactly(stepper: str, kind: str, fractions: list[float]) -> None:
    """Decision "uninterrupted", clause 3.2: a state in single precision with its clock in double."""
    compare(full(stepper, kind, dtype="float32"), 0.0, horizon(stepper), fractions)


@pytest.mark.parametrize("stepper", ODE)
@pytest.mark.parametrize("t0", [-0.7, -3.3, 1e6 + 0.1, 1e7], ids=str)
@SOME
@given(fractions=FRACTIONS, length=st.floats(0.5, 4.0))
def test_clocks_far_from_zero_continue_exactly(stepper: str, t0: float, fractions: list[float], length: float) -> None:
    """Decision "uninterrupted": no absolute tolerance and no drift enters the clock, wherever it starts."""
    compare(full(stepper, "both"), t0, t0 + length, fractions, t0=t0)


@pytest.mark.parametrize(("stepper", "kind"), STEPPERS)
@SOME
@given(fractions=FRACTIONS, transient=st.floats(0.01, 5.0))
def test_a_transient_is_a_run_like_any_other(stepper: str, kind: str, fractions: list[float], transient: float) -> None:
    """Clauses 3.2 and 3.3: the end of a transient is no step boundary, and seams after it leave nothing either."""
    end = horizon(stepper)
    compare(full(stepper, kind), transient, end, fractions, transient=transient)
    plain, shifted = Sim(full(stepper, kind)), Sim(full(stepper, kind))
    plain.run(T=end)
    shifted.run(T=end, transient=transient)
    for field in shifted.state.layout.fields:
        if not field.name.startswith("record_"):
            assert shifted.state[field.name].tobytes() == plain.state[field.name].tobytes(), field.name


@pytest.mark.parametrize(("stepper", "kind"), STEPPERS)
@SOME
@given(pieces=st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_runs_of_n_steps_add_up(stepper: str, kind: str, pieces: list[int]) -> None:
    """Decision "uninterrupted": pieces given as numbers of steps, or ended by a step limit, are one run."""
    single, split, limited = (Sim(full(stepper, kind)) for _ in range(3))
    single.run(N=sum(pieces))
    for k, piece in enumerate(pieces):
        split.run(N=piece, resume=k > 0)
    assert split.state.same_bits(single.state)
    assert recorded(split) == recorded(single)
    assert len(split.results()) == sum(pieces) + 1
    for k, piece in enumerate(pieces):
        with pytest.warns(match="MAX_STEPS"):
            outcome = limited.run(T=1e9, max_steps=piece, resume=k > 0)
        assert outcome.status is Status.MAX_STEPS
    assert limited.state.same_bits(single.state)
    assert recorded(limited) == recorded(single)


@pytest.mark.parametrize(("stepper", "kind"), STEPPERS)
@SOME
@given(data=st.data())
def test_silent_segments_leave_the_rest_as_it_is(stepper: str, kind: str, data: st.DataObject) -> None:
    """Clause 3.5: a segment with record=False takes the same steps, and later samples keep their place and label."""
    end = horizon(stepper)
    a, b = sorted(data.draw(st.tuples(st.floats(0.05, 0.5), st.floats(0.51, 0.95))))
    how = data.draw(st.sampled_from([{}, {"record_interval": 3}, {"record_dt": 0.17}]))
    single, split = Sim(full(stepper, kind)), Sim(full(stepper, kind))
    single.run(T=end, **how)
    split.run(T=a * end, **how)
    quiet_from = split.t  # a step within rounding of the stop belongs to what was recorded
    split.run(T=b * end, resume=True, record=False)
    quiet_to = split.t
    split.run(T=end, resume=True)
    assert split.state.same_bits(single.state)
    one, two = single.raw_results(), split.raw_results()
    want = ~one.at_stop & ((one.t <= quiet_from) | (one.t > quiet_to))
    have = ~two.at_stop
    for name in ("t", "step", "data"):
        assert getattr(one, name)[want].tobytes() == getattr(two, name)[have].tobytes(), name


@pytest.mark.parametrize(("stepper", "kind"), STEPPERS)
@SOME
@given(fractions=FRACTIONS)
def test_watching_changes_nothing(
    stepper: str, kind: str, fractions: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Clauses 1.2, 2.4, 4.1, 4.3: snapshots, exports and summaries on the way leave no trace in the trajectory."""
    path = tmp_path_factory.getbasetemp() / f"watch-{stepper}.npz"
    end = horizon(stepper)
    watched, single, through = (Sim(full(stepper, kind)) for _ in range(3))
    single.run(T=end)
    for k, fraction in enumerate(fractions):
        watched.run(T=fraction * end, resume=k > 0)
        watched.create_snapshot(f"s{k}")
        watched.export_snapshot(path)
        watched.inspect_snapshot(path)
        watched.session_state_summary()
        assert watched.results().raw is not None
        through.import_snapshot(path)
        assert through.state.same_bits(watched.state)
    watched.run(T=end, resume=True)
    through.run(T=end, resume=True)
    assert watched.state.same_bits(single.state)
    assert through.state.same_bits(single.state)
    watched.reset("s0")
    watched.run(T=end, resume=True)
    assert watched.state.same_bits(single.state)


@pytest.mark.parametrize(("stepper", "kind"), CASES)
def test_sparse_recording_is_a_selection(stepper: str, kind: str) -> None:
    """Clause 3.5: what is recorded changes no step, and every third sample is every third of all.

    A point of a grid within rounding of a step is that step.
    """
    end = horizon(stepper)
    sims = [Sim(full(stepper, kind), buffers=Buffers(rows=rows)) for rows in (4, 4096, 4096, 4096)]
    for sim, how in zip(sims, ({}, {"record_interval": 3}, {"record_dt": 0.11}, {"record": False}), strict=True):
        sim.run(T=end, **how)
    every, third, grid, silent = sims
    for field in every.state.layout.fields:
        if not field.name.startswith("record_"):
            values = {sim.state[field.name].tobytes() for sim in (every, third, grid, silent)}
            assert len(values) == 1, field.name
    dense, sparse = every.raw_results(), third.raw_results()
    assert sparse.data[~sparse.at_stop].tobytes() == dense.data[~dense.at_stop][::3].tobytes()
    points = grid.raw_results()
    expected = np.arange(points.t.size) * 0.11
    on_grid = points.t[~points.at_stop]
    assert np.allclose(on_grid, expected[: on_grid.size], rtol=4 * np.finfo(float).eps, atol=0.0)
    assert end - points.t[~points.at_stop][-1] < 0.11
    log, other = dense.log, points.log
    assert log.values.tobytes() == other.values.tobytes()


@pytest.mark.parametrize(("stepper", "kind"), NARROW)
def test_float32_interpreted_and_compiled_agree(stepper: str, kind: str) -> None:
    """The same file gives the same state and samples to the bit in single precision, for every kind of model."""
    found = []
    for jit in (True, False):
        sim = Sim(full(stepper, kind, jit=jit, dtype="float32"))
        sim.run(T=horizon(stepper) / 3)
        sim.run(T=horizon(stepper) / 2, resume=True)
        found.append((sim.state, recorded(sim)))
    assert found[0][0].reals.dtype == np.float32
    assert found[0][0].same_bits(found[1][0])
    assert found[0][1] == found[1][1]


ARRAYS = """inline:
[model]
type = "ode"
[constants]
N = 12
[states]
"u[N]" = "sin(1.3*i) for i in range(N)"
z = 0.2
[params]
D = 0.4
hits = 0
[equations]
expr = '''
du[0] = D*(u[1] - u[0])
du[i] = D*(u[i-1] - 2*u[i] + u[i+1]) + z*u[i]*(1 - u[i]) for i in range(1, N-1)
du[N-1] = D*(u[N-2] - u[N-1])
dz = -z + 0.1*lag_z(3) + cos(t) + sum(u[j] for j in range(N))/N
'''
[events.kick]
phase = "pre"
cond = "cross_up(z, 0.3)"
action = "u[3] = u[3] + 0.5; hits = hits + 1"
log = ["t", "z"]
[events.sink]
phase = "post"
cond = "u[3] > 0.8"
action = "z = 0.7*z"
log = ["hits"]
"""


@cache
def arrays(stepper: str) -> FullModel:
    return build(load_model(ARRAYS), stepper=stepper, dt=0.1, jit=False)


@pytest.mark.parametrize("stepper", ODE)
@settings(SOME, max_examples=10)
@given(fractions=FRACTIONS)
def test_array_models_with_events_and_lags_continue_exactly(stepper: str, fractions: list[float]) -> None:
    """Decision "uninterrupted": code over arrays changes its state in place, and a seam still leaves nothing."""
    compare(arrays(stepper), 0.0, 5.0, fractions)
    sim = Sim(arrays(stepper))
    sim.run(T=5.0)
    assert sim.param_dict()["hits"] >= 1.0


@pytest.mark.parametrize("stepper", list_steppers("ode"))
@pytest.mark.parametrize("fraction", [0.03, 0.5, 0.7])
def test_a_stop_condition_ends_a_split_run_at_the_same_step(stepper: str, fraction: float) -> None:
    """Decision "uninterrupted": whether a stop condition holds is asked at the end of steps only, seams or not."""
    model = ode_model(
        "until", states={"x": 0.0, "y": 1.0}, equations={"x": "y", "y": "-x"}, sim={"stop": "cross_down(x, 0.5)"}
    )
    kernel = build(model, stepper=stepper, dt=0.1, jit=False)
    single, split = Sim(kernel), Sim(kernel)
    assert single.run(T=20.0).status is Status.STOPPED
    assert split.run(T=fraction * single.t).status is Status.DONE
    assert split.run(T=20.0, resume=True).status is Status.STOPPED
    assert split.state.same_bits(single.state)
    assert recorded(split) == recorded(single)
