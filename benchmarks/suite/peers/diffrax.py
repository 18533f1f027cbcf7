"""diffrax, and plain JAX loops where no solver is asked for, on the processor in double precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.suite.right_hand_sides import STIFF, list_form
from benchmarks.suite.worker import Prepare, Run, Works

jax.config.update("jax_enable_x64", True)

SETTINGS = (
    "compiled by `jax.jit` with everything but the system as arguments, 64-bit, on the processor; diffrax with "
    '`RecursiveCheckpointAdjoint` replaced by `ForwardMode`, `SaveAt(t1=True)`; "jax loop" is a plain '
    "`lax.fori_loop` or `lax.scan`"
)
MOST = 10_000_000


def version() -> str:
    return f"{diffrax.__version__} (jax {jax.__version__})"


def vector_field(system: str) -> Callable[[Any, Any, Any], Any]:
    f = list_form(system, jnp.sqrt)
    return lambda t, y, args: jnp.stack(f(t, y))


@cache
def solver(system: str, method: str) -> Any:
    term = diffrax.ODETerm(vector_field(system))
    stepper = getattr(diffrax, method)()

    @jax.jit
    def solve(y: Any, t_end: Any, rtol: Any, atol: Any) -> Any:
        found = diffrax.diffeqsolve(
            term, stepper, 0.0, t_end, None, y, saveat=diffrax.SaveAt(t1=True), max_steps=None, throw=False,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol), adjoint=diffrax.ForwardMode(),
        )  # fmt: skip
        return found.ys[-1], found.result == diffrax.RESULTS.successful

    return solve


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare(method: str) -> Prepare:
        def prepared() -> Run:
            solve, y = solver(p["system"], method), jnp.array(p["start"])

            def run() -> Any:
                end, fine = solve(y, p["t_end"], p["rtol"], p["atol"])
                return np.asarray(end) if bool(fine) else None

            return run

        return prepared

    return {m: prepare(m) for m in (("Kvaerno5",) if p["system"] in STIFF else ("Dopri5", "Dopri8"))}


class Classical(diffrax.AbstractERK):
    """The classical Runge-Kutta method, which diffrax does not have."""

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        c=np.array([0.5, 0.5, 1.0]),
        a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
        b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
        b_error=np.zeros(4),
    )
    interpolation_cls: ClassVar[Any] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms: Any) -> int:
        return 4


def classical(f: Callable[[Any], Any], y: Any, h: Any) -> Any:
    k1 = f(y)
    k2 = f(y + 0.5 * h * k1)
    k3 = f(y + 0.5 * h * k2)
    k4 = f(y + h * k3)
    return y + h * (1 / 6 * k1 + 1 / 3 * k2 + 1 / 3 * k3 + 1 / 6 * k4)


def looped(f: Callable[[Any], Any], start: Any, p: dict[str, Any], shown: Callable[[Any], Any]) -> Run:
    @jax.jit
    def loop(y: Any, h: Any, n: Any) -> Any:
        return jax.lax.fori_loop(0, n, lambda _, z: classical(f, z, h), y)

    return lambda: shown(np.asarray(loop(start, p["dt"], p["steps"])))


def lorenz_rk4(p: dict[str, Any]) -> dict[str, Prepare]:
    field = vector_field("lorenz")
    start = jnp.array(p["start"])

    def with_diffrax() -> Run:
        h, n = p["dt"], p["steps"]

        @jax.jit
        def solve(y: Any) -> Any:
            return diffrax.diffeqsolve(
                diffrax.ODETerm(field), Classical(), 0.0, n * h, h, y, saveat=diffrax.SaveAt(t1=True), max_steps=None,
                adjoint=diffrax.ForwardMode(),
            ).ys[-1]  # fmt: skip

        return lambda: np.asarray(solve(start))

    return {
        "jax loop": lambda: looped(lambda y: field(0.0, y, None), start, p, np.asarray),
        "diffrax, constant step": with_diffrax,
    }


def lorenz_rk4_recorded(p: dict[str, Any]) -> dict[str, Prepare]:
    field, start, n = vector_field("lorenz"), jnp.array(p["start"]), p["steps"]

    def prepare() -> Run:
        @jax.jit
        def scan(y: Any, h: Any) -> Any:
            def step(carry: Any, k: Any) -> Any:
                z = classical(lambda q: field(0.0, q, None), carry, h)
                return z, ((k + 1) * h, z)

            return jax.lax.scan(step, y, jnp.arange(n))[1]

        def run() -> Any:
            _, data = scan(start, p["dt"])
            data = np.asarray(data)
            return np.array([*data[n // 2 - 1], *data[-1]])

        return run

    return {"jax scan": prepare}


def logistic_orbits(p: dict[str, Any]) -> dict[str, Prepare]:
    r = jnp.linspace(p["r_min"], p["r_max"], p["values"])

    def prepare() -> Run:
        @jax.jit
        def orbits(r: Any) -> Any:
            x = jax.lax.fori_loop(0, p["transient"], lambda _, x: r * x * (1 - x), jnp.full_like(r, 0.2))

            def step(x: Any, _: Any) -> Any:
                x = r * x * (1 - x)
                return x, x

            return jax.lax.scan(step, x, None, length=p["kept"])[1]

        return lambda: np.asarray(orbits(r))[-1, :6]

    return {"jax loop, all at once": prepare}


def chain(p: dict[str, Any]) -> dict[str, Prepare]:
    def f(u: Any) -> Any:
        w = jnp.concatenate([u[:1], u, u[-1:]])
        return w[2:] - 2 * u + w[:-2] + u * (1 - u) * (u - 0.1)

    n = p["n"]
    return {"jax loop": lambda: looped(f, 0.5 + 0.4 * jnp.sin(0.05 * jnp.arange(n)), p, lambda y: y[:: n // 10])}


def kuramoto(p: dict[str, Any]) -> dict[str, Prepare]:
    n = p["n"]
    omega = jnp.sin(7.0 * jnp.arange(n))

    def f(u: Any) -> Any:
        return omega + p["coupling"] / n * jnp.sin(u[None, :] - u[:, None]).sum(axis=1)

    return {"jax loop": lambda: looped(f, jnp.sin(3.0 * jnp.arange(n)), p, lambda y: y[:: n // 10])}


WORKS: Works = {
    "lorenz-rk4": lorenz_rk4,
    "lorenz-rk4-recorded": lorenz_rk4_recorded,
    "lorenz-dp5": adaptive,
    "lorenz-to-error": adaptive,
    "arenstorf-to-error": adaptive,
    "van-der-pol": adaptive,
    "van-der-pol-to-error": adaptive,
    "robertson": adaptive,
    "robertson-to-error": adaptive,
    "logistic-orbits": logistic_orbits,
    "chain-1000": chain,
    "chain-100000": chain,
    "kuramoto-1000": kuramoto,
}
