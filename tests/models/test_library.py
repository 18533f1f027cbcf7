"""Every built-in model against a value known from its literature or in closed form, with the source in each test."""

from __future__ import annotations

import cmath
import math
from itertools import pairwise

import numpy as np
import pytest
from models.rhs import Field, Vector
from msgspec.structs import replace
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq
from scipy.special import ellipk
from validation.problems import PROBLEMS

from dynlib import build
from dynlib.spec.locations import builtin_models, load_model
from dynlib.spec.model import Model

MAPS = ("henon", "henon_lagged", "ikeda", "logistic", "lozi", "sine", "standard")
ODES = (
    "arenstorf", "brusselator", "duffing", "exponential_decay", "exponential_if", "fitzhugh_nagumo", "henon_heiles",
    "hires", "hodgkin_huxley", "izhikevich", "kepler", "leaky_if", "lorenz", "morris_lecar", "oregonator",
    "outer_solar_system", "pendulum", "pleiades", "quadratic_if", "robertson", "rossler", "van_der_pol",
)  # fmt: skip
LOCATIONS = [*(f"builtin://map/{name}" for name in MAPS), *(f"builtin://ode/{name}" for name in ODES)]
POINTS = [(0.3, -0.2), (-0.7, 0.15), (1.1, 0.4), (-1.3, -0.6)]
HENON_FIXED = (0.6313544770895047, -1.1313544770895048)


def flow(field: Field, start: Vector, t: float) -> Vector:
    """The state after time `t`."""
    solution = solve_ivp(field, (0.0, t), start, method="DOP853", rtol=1e-12, atol=1e-13)
    assert solution.success
    return np.asarray(solution.y[:, -1])


def hopf(name: str, parameter: str, low: float, high: float, start: tuple[float, ...]) -> float:
    """The value of a parameter between two others at which the leading eigenvalues are a pair on the imaginary axis."""

    def leading(value: float) -> float:
        field = Field(name, **{parameter: value})
        values = field.eigenvalues(field.equilibrium(start))
        assert values[0].imag != 0.0
        assert values[0] == values[1].conjugate()
        return float(values[0].real)

    return float(brentq(leading, low, high, xtol=1e-12, rtol=1e-14))


def period_of_firing(field: Field) -> float:
    """The time from the state after a spike to the next spike, by the event of the model."""
    (spike,) = field.model.events
    threshold = field.params["v_th"]
    start = field.fire(spike, np.array([threshold]))

    def reached(t: float, y: Vector) -> float:
        return float(y[0]) - threshold

    reached.terminal = True  # type: ignore[attr-defined]
    solution = solve_ivp(field, (0.0, 1e4), start, method="DOP853", rtol=1e-11, atol=1e-11, events=reached)
    (times,) = solution.t_events
    assert len(times) == 1
    return float(times[0])


# -- the library as a whole --------------------------------------------------------------------------------------


def test_the_library_holds_exactly_these_models() -> None:
    assert builtin_models() == sorted(LOCATIONS)
    assert len(LOCATIONS) == 7 + 22


@pytest.mark.parametrize("location", LOCATIONS)
def test_every_model_is_documented_and_ready_to_run(location: str) -> None:
    model = load_model(location)
    meta = dict(model.meta)
    assert meta["reference"].strip()
    assert meta["title"].strip()
    kind, name = location.removeprefix("builtin://").split("/")
    assert (model.kind, model.name) == (kind, name)
    assert model.sim.t_end is not None
    assert model.sim.dt is not None
    assert model.sim.t_end >= 1000 * model.sim.dt
    assert (model.sim.stepper == "map") == (kind == "map")
    assert model.sim.record


@pytest.mark.parametrize("location", LOCATIONS)
def test_initial_values_give_finite_slopes(location: str) -> None:
    field = Field(load_model(location))
    assert np.all(np.isfinite(field(0.0, field.initial)))
    assert np.any(field(0.0, field.initial) != 0.0)


@pytest.mark.parametrize("location", [x for x in LOCATIONS if load_model(x).jacobian])
def test_stated_jacobians_are_the_derivatives_of_the_equations(location: str) -> None:
    field = Field(load_model(location))
    rng = np.random.default_rng(7)
    for _ in range(10):
        y = rng.uniform(-2.0, 2.0, len(field.states))
        np.testing.assert_allclose(field.stated_jacobian(y), field.jacobian(y), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("location", LOCATIONS)
def test_derived_jacobians_are_the_derivatives_of_the_equations(location: str) -> None:
    """Also the slopes in each scalar parameter; the code that kernels use against infinitesimal numbers."""
    model = replace(load_model(location), jacobian=())
    field, full = Field(model), build(model, jit=False)
    rng = np.random.default_rng(7)
    for t in (0.0, 0.7, 31.0):
        y = field.initial * rng.uniform(0.8, 1.25, len(field.states)) + rng.uniform(0.0, 0.1, len(field.states))
        expected = field.jacobian(y, t)
        assert np.all(np.isfinite(expected))
        size = 1e-13 * np.abs(expected).max(initial=0.0)
        np.testing.assert_allclose(full.jacobian(t=t, y=y), expected, rtol=1e-11, atol=size)
        for q in (q for q in model.params if q.size is None):
            np.testing.assert_allclose(
                full.parameter_derivative(q.name, t=t, y=y), field.slope(q.name, y, t), rtol=1e-11, atol=1e-12
            )


def test_three_models_state_a_jacobian_and_four_an_inverse() -> None:
    models = [load_model(x) for x in LOCATIONS]
    assert [m.name for m in models if m.jacobian] == ["henon", "lorenz", "van_der_pol"]
    assert [m.name for m in models if m.inverse] == ["henon", "henon_lagged", "lozi", "standard"]


@pytest.mark.parametrize("name", ["henon", "henon_lagged", "lozi"])
@pytest.mark.parametrize("point", POINTS)
def test_inverses_undo_the_map(name: str, point: tuple[float, float]) -> None:
    field = Field(f"map/{name}")
    np.testing.assert_allclose(field.inverse(field(0.0, point)), point, rtol=0, atol=1e-14)
    np.testing.assert_allclose(field(0.0, field.inverse(point)), point, rtol=0, atol=1e-13)


# -- maps --------------------------------------------------------------------------------------------------------


def test_logistic_period_three_is_born_at_one_plus_root_eight() -> None:
    """J. Bechhoefer, Math. Mag. 69 (1996) 115–118, and W. B. Gordon, Math. Mag. 69 (1996) 118–120."""
    field = Field("map/logistic", r=1.0 + math.sqrt(8.0))
    orbit = [0.1599288, 0.5143553, 0.9563178]
    for x, after in zip(orbit, [*orbit[1:], orbit[0]], strict=True):
        assert field(0.0, [x])[0] == pytest.approx(after, abs=3e-7)
    multiplier = math.prod(field.jacobian([x])[0, 0] for x in orbit)
    assert multiplier == pytest.approx(1.0, abs=2e-5)


def test_logistic_fixed_point_loses_stability_at_three() -> None:
    """R. M. May, Nature 261 (1976) 459–467: the fixed point 1 - 1/r has the multiplier 2 - r."""
    for r in (2.5, 3.0, 3.7):
        field = Field("map/logistic", r=r)
        assert field(0.0, [1 - 1 / r])[0] == pytest.approx(1 - 1 / r, abs=1e-15)
        assert field.jacobian([1 - 1 / r])[0, 0] == pytest.approx(2 - r, abs=1e-14)


def test_henon_fixed_points_and_multipliers() -> None:
    """M. Hénon, Commun. Math. Phys. 50 (1976) 69–77: (1 - b) x = 1 - a x^2; multipliers by m^2 + 2 a x m - b = 0."""
    field = Field("map/henon")
    for x in HENON_FIXED:
        np.testing.assert_allclose(field(0.0, [x, 0.3 * x]), [x, 0.3 * x], rtol=0, atol=4e-16)
        assert np.linalg.det(field.jacobian([x, 0.3 * x])) == pytest.approx(-0.3, abs=1e-15)
    multipliers = field.eigenvalues([HENON_FIXED[0], 0.3 * HENON_FIXED[0]])
    np.testing.assert_allclose(multipliers, [0.15594632, -1.92373886], rtol=0, atol=5e-9)


def test_henon_lagged_is_henon_in_other_coordinates() -> None:
    """M. Hénon (1976): the second state of `henon` is b times the x of one iteration ago."""
    field, other = Field("map/henon_lagged"), Field("map/henon")
    for x in HENON_FIXED:
        np.testing.assert_allclose(field(0.0, [x, x]), [x, x], rtol=0, atol=4e-16)
    y, z = np.array([0.1, 0.2]), np.array([0.1, 0.3 * 0.2])
    for _ in range(20):
        y, z = field(0.0, y), other(0.0, z)
        np.testing.assert_allclose([y[0], 0.3 * y[1]], z, rtol=0, atol=1e-10)


@pytest.mark.parametrize("point", POINTS)
def test_ikeda_is_the_complex_map_of_the_ring_cavity(point: tuple[float, float]) -> None:
    """S. M. Hammel, C. Jones & J. V. Moloney, J. Opt. Soc. Am. B 2 (1985) 552–564; it multiplies areas by u^2."""
    z = complex(*point)
    for u in (0.9, 0.7):
        field = Field("map/ikeda", u=u)
        image = 1 + u * z * cmath.exp(1j * (0.4 - 6 / (1 + abs(z) ** 2)))
        np.testing.assert_allclose(field(0.0, point), [image.real, image.imag], rtol=0, atol=1e-14)
        assert np.linalg.det(field.jacobian(point)) == pytest.approx(u**2, abs=1e-13)


def test_ikeda_fixed_point() -> None:
    """At a fixed point |z - 1| = u |z|; the one near (0.53, 0.25) is a saddle (u = 0.9)."""
    field = Field("map/ikeda")
    assert field.params == {"u": 0.9, "kappa": 0.4, "alpha": 6.0}
    x, y = field.equilibrium([0.53, 0.25])
    assert math.hypot(x - 0.53, y - 0.25) < 0.02
    assert math.hypot(x - 1, y) == pytest.approx(0.9 * math.hypot(x, y), abs=1e-13)
    multipliers = np.abs(field.eigenvalues([x, y]))
    assert multipliers.min() < 1.0 < multipliers.max()


def test_lozi_fixed_points_and_multipliers() -> None:
    """R. Lozi, J. Phys. Colloques 39 (1978) C5-9: on each branch the map is affine, so all is in closed form."""
    field = Field("map/lozi")
    a, b = 1.7, 0.5
    for sign in (1.0, -1.0):
        x = 1 / (1 + sign * a - b)
        np.testing.assert_allclose(field(0.0, [x, b * x]), [x, b * x], rtol=0, atol=1e-15)
        root = math.sqrt(a * a + 4 * b)
        expected = [(-sign * a + root) / 2, (-sign * a - root) / 2]
        np.testing.assert_allclose(field.eigenvalues([x, b * x]), expected, rtol=0, atol=1e-14)


def test_sine_fixed_point_doubles_its_period_at_the_root_of_tan_z_plus_z() -> None:
    """Multiplier pi x / tan(pi x) = -1, so z = pi x solves tan z = -z.

    Root 2.02876: M. Abramowitz & I. A. Stegun, Handbook of Mathematical Functions (1964), table 4.20. At r = 1/2 the
    fixed point is x = 1/2, with multiplier 0: N. Metropolis, M. L. Stein & P. R. Stein (1973).
    """
    z = 2.0287578381104342
    assert math.tan(z) == pytest.approx(-z, abs=1e-14)
    x = z / math.pi
    field = Field("map/sine", r=x / math.sin(z))
    assert field(0.0, [x])[0] == pytest.approx(x, abs=1e-15)
    assert field.jacobian([x])[0, 0] == pytest.approx(-1.0, abs=1e-14)
    middle = Field("map/sine", r=0.5)
    assert middle(0.0, [0.5])[0] == 0.5
    assert abs(middle.jacobian([0.5])[0, 0]) < 1e-15


@pytest.mark.parametrize("point", [(0.4, 0.2), (2.0, 5.9), (5.5, 1.0), (6.2, 6.2)])
def test_standard_map_preserves_areas_and_can_be_undone(point: tuple[float, float]) -> None:
    """B. V. Chirikov, Phys. Rep. 52 (1979) 263–379: the Jacobian has determinant 1 everywhere."""
    for K in (0.5, 0.971635, 6.5):
        field = Field("map/standard", K=K)
        image = field(0.0, point)
        assert np.all((image >= 0.0) & (image < 2 * math.pi))
        assert np.linalg.det(field.jacobian(point)) == pytest.approx(1.0, abs=1e-13)
        np.testing.assert_allclose(field.inverse(image), point, rtol=0, atol=2e-14)


def test_standard_map_fixed_points() -> None:
    """J. M. Greene, J. Math. Phys. 20 (1979) 1183–1201: traces 2 - K at (pi, 0) and 2 + K at (0, 0)."""
    field = Field("map/standard")
    np.testing.assert_allclose(field(0.0, [0.0, 0.0]), [0.0, 0.0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(np.cos(field(0.0, [math.pi, 0.0])), [-1.0, 1.0], rtol=0, atol=1e-15)
    assert np.trace(field.jacobian([math.pi, 0.0])) == pytest.approx(2 - 0.971635, abs=1e-14)
    assert np.trace(field.jacobian([0.0, 0.0])) == pytest.approx(2 + 0.971635, abs=1e-14)


def test_standard_map_lyapunov_exponent_for_strong_kicks() -> None:
    """B. V. Chirikov (1979): the exponent approaches ln(K / 2) for large K."""
    K = 10.0
    field = Field("map/standard", K=K)
    y, tangent, total, steps = np.array([1.0, 0.5]), np.array([1.0, 0.0]), 0.0, 6000
    for _ in range(steps):
        tangent = field.jacobian(y) @ tangent
        length = float(np.linalg.norm(tangent))
        tangent, total = tangent / length, total + math.log(length)
        y = field(0.0, y)
    assert total / steps == pytest.approx(math.log(K / 2), rel=0.03)


# -- flows -------------------------------------------------------------------------------------------------------


def test_lorenz_equilibria_and_eigenvalues() -> None:
    """E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130–141: convection at x = y = ±sqrt(beta (rho - 1)), z = rho - 1."""
    field = Field("ode/lorenz")
    np.testing.assert_allclose(field.eigenvalues([0.0, 0.0, 0.0]), [11.82772345, -2.66666667, -22.82772345], atol=5e-9)
    x = math.sqrt(8 / 3 * 27)
    for sign in (1.0, -1.0):
        np.testing.assert_allclose(field(0.0, [sign * x, sign * x, 27.0]), np.zeros(3), rtol=0, atol=3e-14)
        assert field.eigenvalues([sign * x, sign * x, 27.0])[0].real > 0.0
    assert np.trace(field.jacobian([3.0, -2.0, 9.0])) == pytest.approx(-(10 + 1 + 8 / 3), abs=1e-14)


def test_lorenz_convection_becomes_unstable_at_470_over_19() -> None:
    """E. N. Lorenz (1963): rho = sigma (sigma + beta + 3) / (sigma - beta - 1) = 470 / 19."""
    assert hopf("ode/lorenz", "rho", 20.0, 28.0, (8.0, 8.0, 24.0)) == pytest.approx(470 / 19, abs=1e-10)


def test_rossler_equilibria() -> None:
    """O. E. Rössler, Phys. Lett. A 57 (1976) 397–398: z = -y = x / a with x^2 - c x + a b = 0."""
    field = Field("ode/rossler")
    root = math.sqrt(5.7**2 - 4 * 0.2 * 0.2)
    inner, outer = (5.7 - root) / 2, (5.7 + root) / 2
    for x in (inner, outer):
        np.testing.assert_allclose(field(0.0, [x, -x / 0.2, x / 0.2]), np.zeros(3), rtol=0, atol=1e-13)
    values = field.eigenvalues([inner, -inner / 0.2, inner / 0.2])
    assert values[0].real > 0.0
    assert values[0].imag != 0.0
    assert np.trace(field.jacobian([1.0, 2.0, 3.0])) == pytest.approx(0.2 + 1.0 - 5.7, abs=1e-14)


def test_duffing_without_damping_has_the_known_homoclinic_orbit() -> None:
    """P. Holmes, Phil. Trans. R. Soc. A 292 (1979) 419–448: x = sqrt(2) sech t for alpha = -1, beta = 1."""
    field = Field("ode/duffing", delta=0.0, gamma=0.0)

    def orbit(t: float) -> Vector:
        return math.sqrt(2.0) / math.cosh(t) * np.array([1.0, -math.tanh(t)])

    np.testing.assert_allclose(flow(field, orbit(-1.0), 4.0), orbit(3.0), rtol=0, atol=1e-9)


def test_duffing_damping_drive_and_stiffness_enter_as_stated() -> None:
    """The exact subharmonic of order 3 of G. Duffing's equation, by 4 cos^3 s = 3 cos s + cos 3s.

    Without damping, x = A cos(s) with s = omega t / 3 is a solution if beta A^3 / 4 = gamma and
    alpha + 3 beta A^2 / 4 = (omega / 3)^2.
    """
    A, beta, omega = 0.8, 0.5, 3.3
    field = Field("ode/duffing", alpha=(omega / 3) ** 2 - 0.75 * beta * A**2, beta=beta, delta=0.0,
                  gamma=beta * A**3 / 4, omega=omega)  # fmt: skip
    for t in (0.0, 0.4, 1.7, 5.0):
        s = omega * t / 3
        x, v = A * math.cos(s), -A * omega / 3 * math.sin(s)
        np.testing.assert_allclose(field(t, [x, v]), [v, -((omega / 3) ** 2) * x], rtol=0, atol=1e-14)
    assert np.trace(Field("ode/duffing").jacobian([0.3, 0.4])) == -0.3
    preset = {name: values[0] for name, values in Field("ode/duffing").model.presets[0].params}
    assert preset == {"alpha": 0.0, "beta": 1.0, "delta": 0.05, "gamma": 7.5, "omega": 1.0}


def test_van_der_pol_limit_cycle() -> None:
    """Amplitude and period for mu = 1, as given to many digits in E. Hairer, S. P. Nørsett & G. Wanner, Solving
    Ordinary Differential Equations I, 2nd ed. (1993)."""
    field = Field("ode/van_der_pol")
    start = np.array([2.00861986087484313650940188, 0.0])
    np.testing.assert_allclose(flow(field, start, 6.6632868593231301896996820305), start, rtol=0, atol=2e-11)


@pytest.mark.parametrize(
    ("low", "high", "start", "current"),
    [(0.2, 0.5, (-1.0, -0.3), 0.3312813374547463), (1.2, 1.6, (1.0, 2.1), 1.4187186625452537)],
)
def test_fitzhugh_nagumo_hopf_points(low: float, high: float, start: tuple[float, float], current: float) -> None:
    """Closed form for a = 0.7, b = 0.8, eps = 0.08: the trace 1 - v^2 - eps b vanishes at v = -+sqrt(0.936).

    Parameters of R. FitzHugh, Biophys. J. 1 (1961) 445–466.
    """
    assert hopf("ode/fitzhugh_nagumo", "I", low, high, start) == pytest.approx(current, abs=1e-10)
    v = math.copysign(math.sqrt(0.936), start[0])
    assert (v + 0.7) / 0.8 - v + v**3 / 3 == pytest.approx(current, abs=1e-14)


def test_fitzhugh_nagumo_starts_at_rest() -> None:
    """The file says that its initial values are the equilibrium for I = 0, to eight digits."""
    field = Field("ode/fitzhugh_nagumo", I=0.0)
    np.testing.assert_allclose(field.initial, field.equilibrium(field.initial), rtol=0, atol=5.1e-9)


@pytest.mark.parametrize(
    ("low", "high", "start", "bounds"),
    [
        (9.0, 11.0, (5.3, 0.1, 0.4, 0.4), (9.775437995393, 9.775437995394)),
        (150.0, 160.0, (21.9, 0.4, 0.1, 0.65), (154.522433665808, 154.522433665809)),
    ],
)
def test_hodgkin_huxley_hopf_points(
    low: float, high: float, start: tuple[float, ...], bounds: tuple[float, float]
) -> None:
    """The currents at which rest loses and regains stability (enclosures by interval arithmetic, V_l = -10.613 mV).

    First located, near 9.78 and 154.5 uA/cm^2, by B. Hassard, J. Theor. Biol. 71 (1978) 401–420.
    """
    found = hopf("ode/hodgkin_huxley", "I", low, high, start)
    assert bounds[0] - 1e-9 < found < bounds[1] + 1e-9


def test_hodgkin_huxley_rates_are_smooth_at_their_removable_singularities() -> None:
    """A. L. Hodgkin & A. F. Huxley (1952): alpha_n(10 mV) = 0.1 / ms and alpha_m(25 mV) = 1 / ms as limits."""
    field = Field("ode/hodgkin_huxley")
    assert field.function("alpha_n", 10.0) == pytest.approx(0.1, abs=1e-16)
    assert field.function("alpha_m", 25.0) == pytest.approx(1.0, abs=1e-15)
    for name, at, value in (("alpha_n", 10.0, 0.1), ("alpha_m", 25.0, 1.0)):
        for offset in (1e-12, 1e-6, 0.9999e-3, 1.0001e-3, 1e-2):
            for sign in (1.0, -1.0):
                z = -sign * offset / 10
                expected = value * (1 - z / 2 + z**2 / 12 - z**4 / 720)
                assert field.function(name, at + sign * offset) == pytest.approx(expected, rel=2e-13)
    for V in (10.0, 25.0):
        assert np.all(np.isfinite(field(0.0, [V, 0.1, 0.5, 0.4])))
        assert np.all(np.isfinite(field.jacobian([V, 0.1, 0.5, 0.4])))


def test_hodgkin_huxley_rates_at_rest() -> None:
    """Equations (12), (13), (20), (21), (23) and (24) of A. L. Hodgkin & A. F. Huxley (1952) at V = 0."""
    field = Field("ode/hodgkin_huxley")
    expected = {
        "alpha_n": 0.1 / (math.e - 1),
        "beta_n": 0.125,
        "alpha_m": 2.5 / (math.exp(2.5) - 1),
        "beta_m": 4.0,
        "alpha_h": 0.07,
        "beta_h": 1 / (math.exp(3.0) + 1),
    }
    for name, value in expected.items():
        assert field.function(name, 0.0) == pytest.approx(value, rel=1e-14)


def test_hodgkin_huxley_starts_at_rest() -> None:
    """The file says that its initial values are the steady state for I = 0."""
    field = Field("ode/hodgkin_huxley", I=0.0)
    np.testing.assert_allclose(field.initial, field.equilibrium(field.initial), rtol=0, atol=1e-12)
    assert field.eigenvalues(field.initial)[0].real < 0.0


@pytest.mark.parametrize(
    ("low", "high", "start", "current"),
    [(90.0, 100.0, (-26.0, 0.13), 93.85761837372547), (200.0, 220.0, (8.0, 0.6), 212.01881610037435)],
)
def test_morris_lecar_hopf_points(low: float, high: float, start: tuple[float, float], current: float) -> None:
    """Type II set of J. Rinzel & B. Ermentrout (1998), where the Hopf points are given as 94 and 212 uA/cm^2.

    The digits are those of the current that holds V where the trace of the Jacobian, a function of V alone, vanishes.
    """
    assert hopf("ode/morris_lecar", "I", low, high, start) == pytest.approx(current, abs=1e-9)


def test_morris_lecar_type_1_firing_starts_at_a_saddle_node() -> None:
    """J. Rinzel & B. Ermentrout (1998): in the type I set, rest disappears near I = 40 uA/cm^2."""
    model = load_model("builtin://ode/morris_lecar")
    preset = next({n: v[0] for n, v in p.params} for p in model.presets if p.name == "type_1")
    field = Field(model, **{**preset, "I": 0.0})

    def current(V: float) -> float:
        """The current that holds the potential V."""
        return -20.0 * float(field(0.0, [V, field.aux("w_inf", [V, 0.0])])[0])

    left = [current(V) for V in np.linspace(-60.0, -20.0, 4001)]
    peak = max(left)
    assert left[0] < peak > left[-1]
    assert peak == pytest.approx(39.96, abs=0.01)


def test_izhikevich_rest_and_loss_of_rest() -> None:
    """E. M. Izhikevich, IEEE Trans. Neural Netw. 14 (2003) 1569–1572.

    For a = 0.02 and b = 0.2 rest is (-70, -14) without current, and by the trace 0.08 v + 5 - a of the Jacobian it
    becomes unstable at v = -62.25 mV, which takes I = 3.7975.
    """
    rest = Field("ode/izhikevich", I=0.0)
    np.testing.assert_allclose(rest(0.0, [-70.0, -14.0]), [0.0, 0.0], rtol=0, atol=1e-13)
    assert hopf("ode/izhikevich", "I", 3.7, 3.9, (-62.3, -12.4)) == pytest.approx(3.7975, abs=1e-9)


def test_izhikevich_spike_resets_the_potential_and_raises_the_recovery() -> None:
    """Equation (3) of E. M. Izhikevich (2003): at v >= 30 mV, v becomes c and u becomes u + d."""
    field = Field("ode/izhikevich", c=-55.0, d=4.0)
    (spike,) = field.model.events
    assert (spike.name, spike.phases, spike.tags) == ("spike", ("post",), ("spike",))
    assert [label for label, _ in spike.log] == ["t", "v"]
    assert not field.holds(spike, [29.999, 0.0])
    assert field.holds(spike, [30.0, 0.0])
    np.testing.assert_array_equal(field.fire(spike, [37.0, -2.5]), [-55.0, 1.5])
    np.testing.assert_array_equal(field.initial, [-65.0, -13.0])


def test_izhikevich_presets() -> None:
    """The parameter sets of E. M. Izhikevich (2003), figure 2."""
    model = load_model("builtin://ode/izhikevich")
    assert {p.name: {n: v[0] for n, v in p.params} for p in model.presets} == {
        "regular_spiking": dict(a=0.02, b=0.2, c=-65.0, d=8.0),
        "intrinsic_bursting": dict(a=0.02, b=0.2, c=-55.0, d=4.0),
        "bursting": dict(a=0.02, b=0.2, c=-50.0, d=2.0),
        "fast_spiking": dict(a=0.1, b=0.2, c=-65.0, d=2.0),
        "low_threshold": dict(a=0.02, b=0.25, c=-65.0, d=2.0),
        "resonator": dict(a=0.1, b=0.26, c=-65.0, d=2.0),
    }


@pytest.mark.parametrize("current", [1.6, 2.0, 5.0])
def test_leaky_if_period(current: float) -> None:
    """tau ln((R I + v_rest - v_reset) / (R I + v_rest - v_th)): W. Gerstner et al., Neuronal Dynamics (2014), ch. 1."""
    field = Field("ode/leaky_if", I=current, v_reset=-70.0)
    expected = 10.0 * math.log((10 * current + 5.0) / (10 * current - 15.0))
    assert period_of_firing(field) == pytest.approx(expected, rel=1e-9)
    below = Field("ode/leaky_if", I=1.5)
    assert below(0.0, [-50.0])[0] == 0.0


@pytest.mark.parametrize("current", [0.25, 1.0, 4.0])
def test_quadratic_if_period(current: float) -> None:
    """(arctan(v_th / sqrt I) - arctan(v_reset / sqrt I)) / sqrt I, near pi / sqrt I for distant limits.

    P. E. Latham et al., J. Neurophysiol. 83 (2000) 808–827.
    """
    field = Field("ode/quadratic_if", I=current)
    root = math.sqrt(current)
    period = period_of_firing(field)
    assert period == pytest.approx(2 * math.atan(30.0 / root) / root, rel=1e-9)
    assert period == pytest.approx(math.pi / root, rel=0.05)


def test_exponential_if_rheobase() -> None:
    """N. Fourcaud-Trocmé et al., J. Neurosci. 23 (2003) 11628: rest ends at v_T, for I = g_L (v_T - v_L - delta_T)."""
    field = Field("ode/exponential_if", I=0.1 * (-59.9 + 65.0 - 3.48))
    assert field(0.0, [-59.9])[0] == pytest.approx(0.0, abs=1e-15)
    assert field.jacobian([-59.9])[0, 0] == pytest.approx(0.0, abs=1e-15)
    assert min(field(0.0, [v])[0] for v in np.linspace(-75.0, -31.0, 441)) > -1e-15


def test_exponential_if_period() -> None:
    """The time to fire is the integral of dv / v' from reset to cut-off, of the current of Fourcaud-Trocmé et al."""
    field = Field("ode/exponential_if", I=0.5)

    def slowness(v: float) -> float:
        return 1.0 / (0.1 * (-65.0 - v) + 0.1 * 3.48 * math.exp((v + 59.9) / 3.48) + 0.5)

    expected = sum(quad(slowness, a, b, epsabs=1e-13)[0] for a, b in pairwise([-68.0, -60.0, -50.0, -40.0, -30.0]))
    assert period_of_firing(field) == pytest.approx(expected, rel=1e-8)
    assert field(0.0, [1e4])[0] == pytest.approx(-0.1 * 10065.0 + 0.348 * math.exp(29.9 / 3.48) + 0.5, rel=1e-12)


@pytest.mark.parametrize("name", ["leaky_if", "quadratic_if", "exponential_if"])
def test_integrate_and_fire_models_spike_at_threshold(name: str) -> None:
    model: Model = load_model(f"builtin://ode/{name}")
    field = Field(model)
    (spike,) = model.events
    threshold = field.params["v_th"]
    assert (spike.name, spike.phases, spike.tags) == ("spike", ("post",), ("spike",))
    assert [label for label, _ in spike.log] == ["t", "v"]
    assert field.holds(spike, [threshold])
    assert not field.holds(spike, [threshold - 1e-9])
    assert field.fire(spike, [threshold + 1.0])[0] == field.params["v_reset"]


@pytest.mark.parametrize("k", [0.5, 1.0, 3.0])
def test_exponential_decay(k: float) -> None:
    """E. Rutherford, Phil. Mag. (5) 49 (1900) 1–14: halved after each ln 2 / k, x = exp(-k t)."""
    field = Field("ode/exponential_decay", k=k)
    assert flow(field, np.array([1.0]), math.log(2.0) / k)[0] == pytest.approx(0.5, abs=1e-11)
    assert flow(field, field.initial, 2.0)[0] == pytest.approx(math.exp(-2.0 * k), abs=1e-11)


# -- problems of celestial mechanics and chemistry ------------------------------------------------------------------


def test_arenstorf_orbit_closes() -> None:
    """E. Hairer, S. P. Nørsett & G. Wanner (1993), II.0: it does after 17.0652165601579625588917206249."""
    field = Field("ode/arenstorf")
    end = flow(field, field.initial, 17.0652165601579625588917206249)
    np.testing.assert_allclose(end[:2], field.initial[:2], rtol=0, atol=1e-6)


def test_kepler_ellipse() -> None:
    """A third of a period by Kepler's equation; the greater half-axis is 1, which gives the speed at each distance."""
    field = Field("ode/kepler")
    assert field.aux("energy", field.initial) == pytest.approx(-0.5, abs=1e-15)
    assert field.aux("angular_momentum", field.initial) == pytest.approx(0.8, abs=1e-15)
    anomaly = brentq(lambda E: E - 0.6 * math.sin(E) - 2 * math.pi / 3, 0.0, math.pi, xtol=1e-15)
    x, y, u, v = flow(field, field.initial, 2 * math.pi / 3)
    assert (x, y) == pytest.approx((math.cos(anomaly) - 0.6, 0.8 * math.sin(anomaly)), abs=1e-11)
    assert (u**2 + v**2) / 2 == pytest.approx(1 / math.hypot(x, y) - 0.5, abs=1e-11)


def test_outer_solar_system() -> None:
    """Half-axes of the orbits in AU, and the centre of mass: what attracts is attracted in turn."""
    field = Field("ode/outer_solar_system")
    y = field.initial.reshape(6, 6)
    masses = np.array([field.params[f"m[{i}]"] for i in range(6)])
    rates = field(0.0, field.initial).reshape(6, 6)
    np.testing.assert_array_equal(rates[:3], y[3:])
    np.testing.assert_allclose(rates[3:] @ masses, np.zeros(3), rtol=0, atol=1e-22)
    G = field.params["G"]
    for k, half_axis in ((1, 5.20), (2, 9.55), (3, 19.2), (4, 30.1), (5, 39.5)):
        gravity = G * (masses[0] + masses[k])
        speed, distance = np.linalg.norm(y[3:, k]), np.linalg.norm(y[:3, k])
        assert 1 / (2 / distance - speed**2 / gravity) == pytest.approx(half_axis, rel=0.02)
        np.testing.assert_allclose(rates[3:, k], -G * masses[0] * y[:3, k] / distance**3, rtol=0.02, atol=1e-9)
    potential = -G * sum(
        masses[i] * masses[j] / np.linalg.norm(y[:3, i] - y[:3, j]) for i in range(6) for j in range(i)
    )
    assert field.aux("potential", field.initial) == pytest.approx(potential, rel=1e-13)
    assert field.aux("kinetic", field.initial) == pytest.approx((masses * y[3:] ** 2).sum() / 2, rel=1e-13)


@pytest.mark.parametrize("A", [1.0, 1.5])
def test_brusselator_oscillates_beyond_one_plus_a_squared(A: float) -> None:
    """R. Lefever & G. Nicolis (1971): rest at (A, B / A) loses stability at B = 1 + A^2, with frequency A."""
    B = 1 + A**2
    field = Field("ode/brusselator", A=A, B=B)
    np.testing.assert_allclose(field(0.0, [A, B / A]), [0.0, 0.0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(field.eigenvalues([A, B / A]), [1j * A, -1j * A], rtol=0, atol=1e-7)


def test_henon_heiles_saddles_and_energy() -> None:
    """M. Hénon & C. Heiles (1964): the three saddles, where orbits can escape, have the energy 1/6."""
    field = Field("ode/henon_heiles")
    for x, y in ((0.0, 1.0), (math.sqrt(0.75), -0.5), (-math.sqrt(0.75), -0.5)):
        point = [x, y, 0.0, 0.0]
        np.testing.assert_allclose(field(0.0, point), np.zeros(4), rtol=0, atol=1e-15)
        assert field.aux("energy", point) == pytest.approx(1 / 6, abs=1e-15)
    assert field.aux("energy", field.initial) == pytest.approx(1 / 8, abs=1e-5)
    end = flow(field, field.initial, 30.0)
    assert field.aux("energy", end) == pytest.approx(field.aux("energy", field.initial), abs=1e-11)


def test_pendulum_period() -> None:
    """L. D. Landau & E. M. Lifshitz (1976), § 11: 4 K(sin(theta / 2)) / sqrt(k) for the amplitude theta."""
    for k in (1.0, 2.5):
        field = Field("ode/pendulum", k=k)
        period = 4 * ellipk(math.sin(1.0) ** 2) / math.sqrt(k)
        np.testing.assert_allclose(flow(field, field.initial, period), [2.0, 0.0], rtol=0, atol=1e-10)
        quarter = flow(field, field.initial, period / 4)
        assert field.aux("energy", quarter) == pytest.approx(field.aux("energy", field.initial), abs=1e-11)


@pytest.mark.parametrize("name", ["hires", "oregonator", "robertson"])
def test_end_values_of_the_test_set(name: str) -> None:
    """F. Mazzia & C. Magherini, Test Set for Initial Value Problem Solvers, release 2.4 (2008), by another solver."""
    problem = next(p for p in PROBLEMS if p.model == f"builtin://ode/{name}")
    field, rtol = Field(f"ode/{name}"), 1e-7
    solution = solve_ivp(field, (0.0, problem.t_end), field.initial, "LSODA", rtol=rtol, atol=rtol * problem.scale)
    assert problem.error(solution.y[:, -1], 1.0) < 1e-4


def test_pleiades_attract_one_another() -> None:
    """E. Hairer, S. P. Nørsett & G. Wanner (1993), II.10: forces m_i m_j / r^2, masses 1 to 7."""
    field = Field("ode/pleiades")
    rng = np.random.default_rng(3)
    for y in (field.initial, *rng.uniform(-3.0, 3.0, (3, 28))):
        places, velocities = y[:14].reshape(2, 7), y[14:]
        gaps = places[:, None, :] - places[:, :, None]
        cubes = np.linalg.norm(gaps, axis=0) ** 3 + np.diag(np.full(7, np.inf))
        pulls = (gaps / cubes) @ np.arange(1.0, 8.0)
        np.testing.assert_allclose(field(0.0, y), [*velocities, *pulls.ravel()], rtol=1e-12, atol=1e-13)
