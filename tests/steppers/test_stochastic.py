"""Random numbers, stochastic differential equations and random maps."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import dynlib
from dynlib import ConfigError, ModelError, ResumeError, Sim, get_stepper, select_steppers
from dynlib.compile.elementary import philox, rand, randn
from dynlib.compile.kernel import generated_module

METHODS = select_steppers(kind="sde")


ANSWERS = [
    (0, (0, 0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (0xFFFFFFFFFFFFFFFF, (0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (0x299F31D0A4093822, (0x85A308D3243F6A88, 0x13198A2E, 0x03707344), "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("seed", "counter", "words"), ANSWERS)
def test_known_answers_of_philox(seed: int, counter: tuple[int, int, int], words: str) -> None:
    """The known-answer vectors published with Random123 (Salmon et al., 2011)."""
    step, index, stream = counter
    assert [f"{word:08x}" for word in philox(seed, stream, step, index)] == words.split()


def test_known_answers_of_compiled_philox() -> None:
    """Compiled code counts in 64 bits with sign."""
    source = (
        "from dynlib.compile.elementary import philox\n\n\n"
        "def kernel(seed, stream, step, index, out):\n"
        "    out[0], out[1], out[2], out[3] = philox(seed, stream, step, index)\n"
    )
    compiled = generated_module(source, jit=True).kernel
    for seed, (step, index, stream), words in ANSWERS:
        signed = [np.uint64(value).astype(np.int64) for value in (seed, stream, step, index)]
        found = np.zeros(4, np.int64)
        compiled(*signed, found)
        assert [f"{int(word):08x}" for word in found] == words.split()


def test_uniform_numbers_of_single_precision_stay_below_one() -> None:
    """Where rounding would give 1, as the first number of this seed."""
    seed = 54414807
    assert np.float32(rand(seed, 0, 0, 0)) == 1.0
    model = dynlib.map_model("m", states={"x": 0.5}, equations={"x": "rand()"}, dtype="float32")
    for jit in (False, True):
        sim = dynlib.setup(model, jit=jit)
        sim.run(N=2, seed=seed)
        assert sim.results()["x"][1] == np.nextafter(np.float32(1), np.float32(0))
        assert sim.results()["x"][2] == np.float32(rand(seed, 0, 1, 0))


def test_numbers_have_their_distributions() -> None:
    uniform = np.array([rand(5, 0, k, 0) for k in range(20_000)])
    normal = np.array([randn(5, 1, 3, k) for k in range(20_000)])
    assert 0.0 < uniform.min() < uniform.max() < 1.0
    assert uniform.mean() == pytest.approx(0.5, abs=0.01)
    assert uniform.var() == pytest.approx(1 / 12, abs=0.003)
    assert normal.mean() == pytest.approx(0.0, abs=0.03)
    assert normal.std() == pytest.approx(1.0, abs=0.02)
    assert (normal**4).mean() == pytest.approx(3.0, abs=0.2)
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.03


def gbm(paths: int) -> dynlib.Model:
    """Geometric Brownian motion, many paths side by side."""
    return dynlib.sde_model(
        "gbm",
        states={f"x[{paths}]": 1.0},
        params={"mu": 0.5, "s": 0.8},
        equations={"x[i]": "mu*x[i]"},
        noise={"x[i]": "s*x[i]"},
    )


def wiener(seed: int, steps: int, paths: int, h: float) -> np.ndarray:
    """The Wiener paths at the end of a run, from the numbers that its steps used."""
    return math.sqrt(h) * np.array([sum(randn(seed, 0, n, i) for n in range(steps)) for i in range(paths)])


@pytest.mark.parametrize("spec", METHODS, ids=lambda s: s.name)
def test_strong_order(spec: dynlib.StepperSpec) -> None:
    """The mean distance to the exact solution on the same Wiener path falls with the strong order."""
    paths, errors, sizes = 400, [], []
    for steps in (16, 32, 64, 128):
        h = 1.0 / steps
        sim = dynlib.setup(gbm(paths), stepper=spec.name, dt=h)
        sim.run(N=steps, seed=11, record=False)
        exact = np.exp(0.5 - 0.5 * 0.8**2 + 0.8 * wiener(11, steps, paths, h))
        errors.append(float(np.sqrt(np.mean((sim.state_vector() - exact) ** 2))))
        sizes.append(h)
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(spec.method.strong_order, abs=0.3)  # type: ignore[union-attr]
    assert slope > spec.method.strong_order - 0.2  # type: ignore[union-attr]


@pytest.mark.parametrize("spec", METHODS, ids=lambda s: s.name)
def test_weak_order(spec: dynlib.StepperSpec) -> None:
    """The error of the mean, with the exact solution on the same path as control variate."""
    paths, errors, sizes = 3000, [], []
    model = gbm(paths)
    for steps in (2, 4, 8):
        h = 1.0 / steps
        sim = dynlib.setup(model, stepper=spec.name, dt=h)
        sim.run(N=steps, seed=3, params={"mu": 1.5, "s": 0.2}, record=False)
        exact = np.exp(1.5 - 0.5 * 0.2**2 + 0.2 * wiener(3, steps, paths, h))
        errors.append(abs(float(np.mean(sim.state_vector() - exact))))
        sizes.append(h)
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope > spec.method.weak_order - 0.3  # type: ignore[union-attr]


def increments(seed: int, n: int, states: int, h: float) -> tuple[np.ndarray, np.ndarray]:
    """Of one step of `sri`: the Wiener processes, and their integrals I(1,0) over the step."""
    dw, dz = (math.sqrt(h) * np.array([randn(seed, 0, n, k + i) for i in range(states)]) for k in (0, states))
    return dw, h / 2 * (dw + dz / math.sqrt(3))


def test_sri_is_the_scheme_of_its_tableau() -> None:
    """Rößler (2010), the general form of an SRI method for diagonal noise with the coefficients of SRI1W1."""
    c0, c1 = (0, 3 / 4, 0, 0), (0, 1 / 4, 1, 1 / 4)
    a0, b0 = ((), (3 / 4,), (0, 0), (0, 0, 0)), ((), (3 / 2,), (0, 0), (0, 0, 0))
    a1, b1 = ((), (1 / 4,), (1, 0), (0, 0, 1 / 4)), ((), (1 / 2,), (-1, 0), (-5, 3, 1 / 2))
    alpha = (1 / 3, 2 / 3, 0, 0)
    beta = ((-1, 4 / 3, 2 / 3, 0), (-1, 4 / 3, -1 / 3, 0), (2, -4 / 3, -2 / 3, 0), (-2, 5 / 3, -2 / 3, 1))
    model = dynlib.sde_model(
        "coupled",
        states={"x": 0.3, "y": 0.7},
        equations={"x": "sin(y) - x + 0.3*cos(t)", "y": "x*y - y**3"},
        noise={"x": "0.4*cos(x) + 0.2*sin(3*t)", "y": "0.5*y + 0.1*t"},
    )
    h, seed = 0.1, 5
    sim = dynlib.setup(model, stepper="sri", dt=h, jit=False)
    sim.run(N=40, seed=seed)
    z = np.array([0.3, 0.7])
    for n, row in enumerate(sim.results()[["x", "y"]][1:]):
        t, (dw, i10) = n * h, increments(seed, n, 2, h)
        weights = (dw, (dw**2 - h) / 2 / math.sqrt(h), i10 / h, (dw**3 - 3 * h * dw) / 6 / h)
        drift: list[np.ndarray] = []
        noise: list[np.ndarray] = []
        for i in range(4):
            x, y = z + sum(a0[i][j] * h * drift[j] + b0[i][j] * noise[j] * i10 / h for j in range(i))
            u, v = z + sum(a1[i][j] * h * drift[j] + b1[i][j] * noise[j] * math.sqrt(h) for j in range(i))
            at, bt = t + c0[i] * h, t + c1[i] * h
            drift.append(np.array([math.sin(y) - x + 0.3 * math.cos(at), x * y - y**3]))
            noise.append(np.array([0.4 * math.cos(u) + 0.2 * math.sin(3 * bt), 0.5 * v + 0.1 * bt]))
        z = z + sum(h * alpha[j] * drift[j] for j in range(4))
        z = z + sum(beta[k][j] * weights[k] * noise[j] for k in range(4) for j in range(4))
        assert row == pytest.approx(z, abs=1e-13)


def test_sri_uses_the_integrals_of_its_wiener_processes() -> None:
    """For additive noise the local error is of order 2.5 against I(1,0) of the same path; without it, of order 1.5."""
    paths, k, errors, sizes = 100, 2.0, [], []
    model = dynlib.sde_model(
        "ou", states={f"x[{paths}]": 0.3}, params={"k": k}, equations={"x[i]": "-k*x[i]"}, noise={"x[i]": "1"}
    )
    for steps in (8, 16, 32):
        h = 1.0 / steps
        sim = dynlib.setup(model, stepper="sri", dt=h, jit=False)
        sim.run(N=steps, seed=4, record=False)
        x = np.full(paths, 0.3)
        for n in range(steps):
            dw, i10 = increments(4, n, paths, h)
            x = math.exp(-k * h) * x + dw - k * i10
        errors.append(float(np.sqrt(np.mean((sim.state_vector() - x) ** 2))))
        sizes.append(h)
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] > 1.8


def test_the_stationary_variance_of_an_ornstein_uhlenbeck_process() -> None:
    """dx = -x dt + dW has variance 1/2; the Euler–Maruyama chain has 1/(2 - h) exactly."""
    model = dynlib.sde_model("ou", states={"x": 0.0}, equations={"x": "-x"}, noise={"x": "1"})
    sim = dynlib.setup(model, dt=0.1, observers=[dynlib.running_mean("x")])
    sim.run(N=400_000, seed=1, record=False)
    found = sim.observer("mean_of_x")
    assert found["variance"] == pytest.approx(1 / 1.9, rel=0.02)
    assert found["mean"] == pytest.approx(0.0, abs=0.02)


def test_processes_that_states_share() -> None:
    """With equal columns x and y take the same increments; the second process is another one."""
    model = dynlib.sde_model(
        "pair",
        states={"x": 0.0, "y": 0.0, "z": 0.0},
        equations={"x": "0", "y": "0", "z": "0"},
        noise={"x": ["1", "0"], "y": ["2", "0"], "z": ["0", "1"]},
    )
    assert (model.noise_kind, model.noise_shared) == ("general", 2)
    sim = dynlib.setup(model, dt=0.25, jit=False)
    sim.run(N=4, seed=9)
    x, y, z = sim.state_vector()
    assert y == 2 * x
    assert x == pytest.approx(0.5 * sum(randn(9, 0, n, 0) for n in range(4)))
    assert z == pytest.approx(0.5 * sum(randn(9, 0, n, 1) for n in range(4)))
    for spec in METHODS:
        if not spec.method.general:  # type: ignore[union-attr]
            with pytest.raises(ConfigError, match=f"'{spec.name}' is for diagonal noise"):
                dynlib.build(model, stepper=spec.name, dt=0.1)


def ou(jit: bool = False, stepper: str = "milstein", dtype: str = "float64") -> Sim:
    model = dynlib.sde_model(
        "ou", states={"x": 0.5, "y": 0.1}, params={"s": 0.3}, equations="dx = y - x\ndy = -y",
        noise={"x": "s", "y": "s*y"}, dtype=dtype,
    )  # fmt: skip
    return dynlib.setup(model, stepper=stepper, dt=0.1, jit=jit)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stepper", [s.name for s in METHODS])
def test_interpreted_and_compiled_draw_the_same_numbers(stepper: str, dtype: str) -> None:
    found = []
    for jit in (False, True):
        sim = ou(jit, stepper, dtype)
        sim.run(T=5.0, seed=2**52 + 1)
        found.append((sim.state, sim.raw_results().data.tobytes()))
    assert found[0][0].same_bits(found[1][0])
    assert found[0][1] == found[1][1]


def test_threads_change_no_number() -> None:
    """Eight sessions that share one compiled kernel, run in four threads at once."""
    first = ou(jit=True)
    full = first.full_model

    def path(seed: int) -> bytes:
        sim = Sim(full)
        sim.run(T=200.0, seed=seed)
        return sim.raw_results().data.tobytes()

    one_by_one = [path(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(path, range(8))) == one_by_one
    assert len(set(one_by_one)) == 8


def test_the_seed_decides() -> None:
    paths = []
    for seed in (0, 1, 1, None):
        sim = ou()
        sim.run(T=3.0, **({} if seed is None else {"seed": seed}))
        paths.append(sim.raw_results().data.tobytes())
    assert paths[1] == paths[2] != paths[0]
    assert paths[3] == paths[0], "the seed is 0 where none is given"
    sim = ou()
    sim.run(T=1.0, seed=4)
    sim.run(T=3.0, resume=True)
    whole = ou()
    whole.run(T=3.0, seed=4)
    assert sim.state.same_bits(whole.state)
    assert sim.edits()[0].changes == (("field.seed", 0.0, 4.0),)
    assert sim.replay().ok
    with pytest.raises(ResumeError, match="seed"):
        sim.run(T=4.0, resume=True, seed=5)


def test_the_noise_of_an_array_has_a_loop_index_of_its_own() -> None:
    """Drift and noise need not name their elements alike."""
    ends = []
    for index in ("i", "k"):
        model = dynlib.sde_model(
            "m", states={"u[3]": 1.0}, equations={"u[i]": "-u[i]"}, noise={f"u[{index}]": f"0.1*u[{index}]*{index}"}
        )
        sim = dynlib.setup(model, dt=0.1, jit=False)
        sim.run(N=5)
        ends.append(sim.state_vector().tolist())
    assert ends[0] == ends[1]


def test_forks_choose_their_numbers() -> None:
    sim = ou()
    sim.run(T=1.0, seed=3)
    forks: dict[str, Any] = {}
    for name, rng in (("same", "continue"), ("a", "reseed"), ("b", "reseed"), ("c", "common"), ("d", "common")):
        forks[name] = sim.fork(name, rng=rng)
        forks[name].run(T=2.0, resume=True)
    sim.run(T=2.0, resume=True)
    ends = {name: fork.state_vector().tobytes() for name, fork in forks.items()}
    assert ends["same"] == sim.state_vector().tobytes()
    assert len({ends["same"], ends["a"], ends["b"], ends["c"]}) == 4
    assert ends["c"] == ends["d"]
    assert all(fork.replay().ok for fork in forks.values())
    with pytest.raises(ConfigError, match="rng must be"):
        sim.fork("x", rng="new")


def test_a_random_map_draws_for_every_call_and_element() -> None:
    model = dynlib.map_model(
        "noise", states={"u[3]": 0.0, "x": 0.0}, equations={"u[i]": "randn()", "x": "rand() - rand()"}
    )
    sim = dynlib.setup(model, jit=False)
    sim.run(N=50, seed=2)
    res = sim.results()
    columns = np.column_stack([res["u"][1:], res["x"][1:]])
    assert len(np.unique(columns)) == columns.size
    assert np.all(np.abs(res["x"]) < 1.0)
    assert np.all(res["x"][1:] != 0.0)


@pytest.mark.parametrize(
    ("stepper", "noise", "increments"),
    [
        ("euler_maruyama", {"x": "1"}, 2),
        ("sri", {"x": "1"}, 4),
        ("euler_maruyama", {"x": ["1", "1", "1"], "y": ["0", "0", "0"]}, 3),
    ],
)
def test_events_have_random_numbers_of_their_own(stepper: str, noise: dict[str, Any], increments: int) -> None:
    """Not those of the Wiener increments, nor those of the other phase at the same step count."""
    model = dynlib.sde_model(
        "m", states={"x": 0.0, "y": 0.0}, equations={"x": "0", "y": "0"}, noise=noise,
        events={"e": {"phase": "both", "cond": "true", "action": "y = randn()", "log": ["y"]}},
    )  # fmt: skip
    sim = dynlib.setup(model, dt=1.0, jit=False, stepper=stepper)
    sim.run(N=50, seed=2)
    drawn = sim.results().event("e")["y"][1:].tolist()  # a log holds what was before the action
    assert len(set(drawn)) == 99
    assert not set(drawn) & {float(randn(2, 0, n, k)) for n in range(51) for k in range(increments)}


def test_the_order_of_equations_changes_no_random_number() -> None:
    """Models of one structure hash draw alike."""
    lines = ["u[0] = randn() + randn()", "u[i] = randn() for i in range(1, 3)", "x = rand()"]
    found = []
    for order in (lines, lines[::-1]):
        model = dynlib.map_model("m", states={"u[3]": 0.0, "x": 0.0}, equations="\n".join(order))
        sim = dynlib.setup(model, jit=False)
        sim.run(N=3)
        found.append((model.structure_hash, sim.state_vector().tolist()))
    assert found[0] == found[1]


def test_a_call_draws_once() -> None:
    """Also where its value is needed twice."""
    model = dynlib.map_model("m", states={"x": 0.0, "y": 0.0}, equations={"x": "sign(randn())", "y": "randn()**2"})
    sim = dynlib.setup(model, jit=False)
    sim.run(N=200)
    assert set(sim.results()["x"][1:]) == {-1.0, 1.0}
    assert sim.results()["y"].min() == 0.0 < sim.results()["y"][1:].min()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"equations": {"x": "randn()"}}, r"randn\(\) may stand only in the equations of a map"),
        ({"aux": {"p": "rand()"}}, "may stand only"),
        ({"events": {"e": {"cond": "rand() > 0.5"}}}, "may stand only"),
        ({"states": {"x": "rand()"}}, "may stand only"),
        ({"functions": {"f": {"args": [], "expr": "rand()"}}}, "may stand only"),
    ],
)
def test_random_numbers_elsewhere_are_refused(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dynlib.ode_model("m", **({"states": {"x": 0.0}, "equations": {"x": "1"}} | tables))
    with pytest.raises(ModelError, match="may stand only"):
        dynlib.map_model("m", states={"x": 0.0}, equations={"x": "sum(rand() for i in range(3))"})


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({}, "needs noise"),
        ({"q": "1"}, "'q' is not a state"),
        ({"x": "q"}, "unknown name 'q'"),
        ({"x": ["1", "2"], "y": ["1"]}, "must be 2 expressions"),
        ({"x": ["1"], "y": "1"}, "or a list for each state"),
        ({"x": []}, "at least one expression"),
        ({"x": 3.5j}, "must be an expression"),
    ],
)
def test_bad_noise(noise: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dynlib.sde_model("m", states={"x": 0.0, "y": 0.0}, equations={"x": "1", "y": "1"}, noise=noise)
    with pytest.raises(ModelError, match="noise belongs to models of type 'sde'"):
        dynlib.ode_model("m", states={"x": 0.0}, equations={"x": "1"}, noise={"x": "1"})


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1", 2**53])
def test_bad_seeds(seed: Any) -> None:
    with pytest.raises(ConfigError, match="seed must be a whole number"):
        ou().run(T=1.0, seed=seed)
    plain = dynlib.setup("builtin://map/henon", jit=False)
    with pytest.raises(ConfigError, match="draws no random numbers"):
        plain.run(N=3, seed=1)


def test_metadata_names_the_strong_order() -> None:
    orders = {s.name: s.method.strong_order for s in METHODS}  # type: ignore[union-attr]
    assert orders.items() >= {"euler_maruyama": 0.5, "milstein": 1.0, "sri": 1.5}.items()
    assert get_stepper("sri").interpolant == "linear"
