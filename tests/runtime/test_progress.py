"""What is told of a run on its way: progress, a run that crawls, and Ctrl-C in a process of its own."""

from __future__ import annotations

import io
import math
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import pytest

import dynlib
from dynlib.errors import NumericsWarning
from dynlib.runtime import progress
from dynlib.runtime.progress import CrawlWarning, Passing, ProgressDisplay
from dynlib.runtime.state import SessionState

STIFF = {"builtin://ode/robertson": {}, "builtin://ode/van_der_pol": {"mu": 1000.0}}


# -- the display -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_the_display_shows_steps_time_rate_and_remaining_time(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    if plain:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    display = ProgressDisplay(after=0.0)
    display(Passing(0.25, 2.5, 10.0, 5000, None))
    display.close()
    text = written.getvalue()
    assert "25" in text
    assert "t = 2.5, 5000 steps, " in text
    assert "steps/s" in text
    assert "left" in text
    assert text.endswith("\n")
    assert ("|" in text) is not plain


def test_an_unknown_end_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    display = ProgressDisplay(after=0.0)
    display(Passing(math.nan, 2.5, math.inf, 5000, None))
    display.close()
    assert "t = 2.5, 5000 steps" in written.getvalue()
    assert "%" not in written.getvalue()
    assert "left" not in written.getvalue()


def test_a_short_run_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    dynlib.setup("builtin://ode/van_der_pol", jit=False).run(T=1.0, progress=True)
    assert capsys.readouterr().err == ""


# -- a run that crawls -----------------------------------------------------------------------------------------------


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def looks(sim: dynlib.Sim, horizon: float, seconds_per_step: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said about a run whose steps take so long, looked at every 50 steps."""
    clock, said = Clock(), 0

    def count() -> None:
        nonlocal said
        said += 1

    monkeypatch.setattr(progress.time, "perf_counter", clock)
    watch = CrawlWarning(sim.full_model.stepper.name, sim.full_model.fastest_decay_at, count)
    monkeypatch.undo()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(40):
            sim.run(N=50, resume=k > 0, record=False)
            clock.now += 50 * seconds_per_step
            watch(Passing(sim.t / horizon, sim.t, horizon, sim.step, lambda: sim.state))
    found = [str(w.message) for w in caught if issubclass(w.category, NumericsWarning)]
    assert said == len(found) <= 1
    return found


@pytest.mark.parametrize("name", STIFF)
def test_a_stiff_problem_under_an_explicit_method_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = dynlib.setup(name, stepper="rk45", jit=False)
    sim.assign(STIFF[name])
    (message,) = looks(sim, 1e6, 0.01, monkeypatch)
    assert "the run crawls: at t = " in message
    assert "stiff" in message
    assert 'stepper="rodas5p"' in message
    assert '"auto"' in message


def test_what_soon_ends_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = dynlib.setup("builtin://ode/robertson", stepper="rk45", jit=False)
    assert looks(sim, 10.0, 1e-3, monkeypatch) == []


NOT_STIFF = ("lorenz", "kepler", "henon_heiles", "duffing", "pendulum", "arenstorf", "pleiades", "outer_solar_system")


@pytest.mark.parametrize("name", NOT_STIFF)
def test_a_long_run_that_is_not_stiff_is_no_crawl(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = dynlib.setup(f"builtin://ode/{name}", stepper="rk45", jit=False)
    assert looks(sim, 1e9, 0.01, monkeypatch) == []


@pytest.mark.parametrize("name", dynlib.builtin_models())
def test_no_model_of_the_library_is_said_to_crawl_in_its_own_run(name: str) -> None:
    """Each with the method of its own and to its own end; warnings are errors here."""
    model = dynlib.load_model(name)
    assert dynlib.setup(model).run(record=False, **({} if model.sim.t_end or model.sim.max_steps else {"N": 1000})).ok


def test_the_warning_is_not_repeated_in_the_next_run_and_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CrawlWarning, "AFTER", 0.0)
    monkeypatch.setattr(CrawlWarning, "TOO_LONG", 0.0)
    monkeypatch.setattr("dynlib.runtime.driver._CHUNK_SECONDS", 0.0)  # a pause after every step, or nearly

    def robertson() -> dynlib.Sim:
        return dynlib.Sim(full, buffers=dynlib.Buffers(steps=20))

    full = dynlib.build("builtin://ode/robertson", stepper="rk45", jit=False)
    plain = robertson()
    plain._quiet_until = math.inf
    plain.run(T=2.0)
    sim = robertson()
    with pytest.warns(NumericsWarning, match="the run crawls") as caught:
        sim.run(T=2.0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert sim.state.same_bits(plain.state)
    assert sim.raw_results().data.tobytes() == plain.raw_results().data.tobytes()
    sim.run(T=3.0, resume=True)  # a warning would be an error


def test_where_there_is_no_jacobian_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    full = dynlib.build("builtin://ode/robertson", stepper="rk45", jit=False)

    def unknown(state: SessionState) -> float:
        return math.nan

    watch = CrawlWarning("rk45", unknown, lambda: None)
    clock = Clock()
    watch._clock = clock
    watch._began = 0.0
    state = full.initial_state()
    for k in range(20):
        clock.now += 1.0
        watch(Passing(0.0, 0.1 * k, 1e9, k, lambda: state))


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------

CHILD = """
import signal, sys, dynlib
signal.signal(signal.SIGINT, signal.default_int_handler)
n = int(sys.argv[1])
if n == 3:
    sim = dynlib.setup("builtin://ode/lorenz")
    plan = dict(record_interval=10_000)
else:
    inner = "u[i-1] - 2*u[i] + u[i+1] + sin(u[i]) - u[i]**3"
    model = ["inline:", "[model]", 'type = "ode"', "[states]", f'"u[{n}]" = 0.1', "[equations.rhs]"]
    model += [f'"u[i]" = "{inner} for i in range(1, {n - 1})"', '"u[0]" = "0"', f'"u[{n - 1}]" = "0"']
    sim = dynlib.setup("\\n".join(model), stepper="rk45")
    plan = dict(record=False)
sim.run(N=2, **plan)
def say_once(fraction, t, said=[]):
    if not said:
        said.append(print("running", flush=True))
try:
    sim.run(T=1e9, progress=say_once, tag="cut", **plan)
except KeyboardInterrupt:
    print("stopped", flush=True)
assert sim.state.status.name == "INTERRUPTED" and sim.can_resume()[0] and sim.step > 2
assert n != 3 or len(sim.results().segment("cut")) > 1
sim.run(N=3, resume=True)
print("went on", flush=True)
"""


@pytest.mark.parametrize("n", [3, 100_000], ids=["small", "large"])
def test_ctrl_c_gives_the_session_back_soon(n: int) -> None:
    """The bound is generous: the driver looks up every 25 to 100 ms, or after one step that takes longer."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(n)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    line: Callable[[], str] = child.stdout.readline
    assert line() == "running\n"
    time.sleep(0.5)
    pressed = time.perf_counter()
    child.send_signal(signal.SIGINT)
    assert line() == "stopped\n"
    assert time.perf_counter() - pressed < 2.0
    assert line() == "went on\n"
    assert child.wait() == 0
    child.stdout.close()
