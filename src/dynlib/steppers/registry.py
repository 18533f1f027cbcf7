"""The registry of steppers: one frozen `StepperSpec` per method."""

from __future__ import annotations

from dataclasses import dataclass

from dynlib.errors import ConfigError, UnknownNameError
from dynlib.steppers.adams_bashforth import AB2, AB3, AdamsBashforth
from dynlib.steppers.explicit_rk import DORMAND_PRINCE, EULER, MIDPOINT, RK4, Tableau
from dynlib.steppers.stochastic import EULER_MARUYAMA, MILSTEIN, SRI, Stochastic

_BELOW_ONE = ("safety", "min_factor")


@dataclass(frozen=True, slots=True)
class StepperSpec:
    """A method: its mathematics (`method`), what it can do, and its options with their defaults.

    `order` is that of a method for equations without noise, and the weak order, rounded down, of one for stochastic
    equations (whose `method` has both orders exactly). `interpolant` is "hold" (the last value), "linear" (the chord),
    "hermite" (cubic, from values and slopes at both ends of the step) or "dense" (the method's own continuous
    extension); `interpolant_order` is its order of accuracy.
    """

    name: str
    kinds: tuple[str, ...]
    family: str
    order: int
    stages: int
    interpolant: str
    interpolant_order: int
    description: str
    reference: str
    method: Tableau | AdamsBashforth | Stochastic | None = None
    adaptive: bool = False
    aliases: tuple[str, ...] = ()
    options: tuple[tuple[str, float], ...] = ()

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options, in the order of their values."""
        return tuple(name for name, _ in self.options)

    def configure(self, **values: float) -> tuple[float, ...]:
        """Option values in their order, defaults filled in. Raises `ConfigError` for unknown or impossible ones."""
        known = dict(self.options)
        for name, value in values.items():
            if name not in known:
                raise UnknownNameError(f"option of stepper {self.name!r}:", name, known)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"option {name!r} must be a number, not {value!r}")
            if not value > 0.0:
                raise ConfigError(f"option {name!r} must be greater than 0, not {value!r}")
            if name in _BELOW_ONE and not value < 1.0:
                raise ConfigError(f"option {name!r} must be less than 1, not {value!r}: a rejected step must shrink")
        return tuple(float(values.get(name, default)) for name, default in self.options)


_REGISTRY: dict[str, StepperSpec] = {}


def register(spec: StepperSpec) -> StepperSpec:
    """Add a method. Raises `ConfigError` if a name or alias is taken."""
    for name in (spec.name, *spec.aliases):
        if name in _REGISTRY or any(name in s.aliases for s in _REGISTRY.values()):
            raise ConfigError(f"a stepper named {name!r} exists already")
    _REGISTRY[spec.name] = spec
    return spec


def get_stepper(name: str) -> StepperSpec:
    """The method of that name or alias. Raises `UnknownNameError`."""
    for spec in _REGISTRY.values():
        if name == spec.name or name in spec.aliases:
            return spec
    raise UnknownNameError("stepper", name, _REGISTRY)


def list_steppers(kind: str | None = None) -> list[str]:
    """Names of all methods, or of those for one kind of model ("ode", "map" or "sde")."""
    return [s.name for s in _REGISTRY.values() if kind is None or kind in s.kinds]


def select_steppers(
    *, kind: str | None = None, adaptive: bool | None = None, family: str | None = None, min_order: int = 0
) -> list[StepperSpec]:
    """The methods with the wanted capabilities, in order of registration."""
    return [
        s
        for s in _REGISTRY.values()
        if (kind is None or kind in s.kinds)
        and (adaptive is None or s.adaptive == adaptive)
        and (family is None or s.family == family)
        and s.order >= min_order
    ]


_HNW = "Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, 2nd ed. (1993)"

register(StepperSpec("map", ("map",), "iteration", 0, 1, "hold", 0, "iteration of a map", "—", aliases=("discrete",)))
for _name, _tableau, _text, _ref, _aliases in (
    ("euler", EULER, "explicit Euler", f"{_HNW}, I.7", ("fe",)),
    ("rk2", MIDPOINT, "explicit midpoint", f"{_HNW}, II.1", ("midpoint", "rk2_midpoint")),
    ("rk4", RK4, "classical Runge–Kutta", f"{_HNW}, II.1, table 1.2", ("rk4_classic",)),
):
    register(
        StepperSpec(
            _name, ("ode",), "explicit_rk", _tableau.order, _tableau.stages, "hermite", 3, _text, _ref, _tableau,
            aliases=_aliases,
        )
    )  # fmt: skip
for _name, _ab in (("ab2", AB2), ("ab3", AB3)):
    register(
        StepperSpec(
            _name, ("ode",), "adams_bashforth", _ab.order, 1, "hermite", 3,
            f"Adams–Bashforth with {_ab.order} steps, started by classical Runge–Kutta", f"{_HNW}, III.1, eq. 1.5", _ab,
        )
    )  # fmt: skip
register(
    StepperSpec(
        "rk45", ("ode",), "explicit_rk", 5, 7, "dense", 4, "Dormand–Prince 5(4) with PI step-size control",
        f"Dormand & Prince, J. Comput. Appl. Math. 6 (1980) 19–26; control and dense output: {_HNW}, II.4–II.6",
        DORMAND_PRINCE,
        adaptive=True,
        aliases=("dopri5", "dp5"),
        options=(
            ("rtol", 1e-5), ("atol", 1e-8), ("safety", 0.9), ("min_factor", 0.2), ("max_factor", 10.0),
            ("max_step", float("inf")),
        ),
    )
)  # fmt: skip
for _scheme, _text, _ref in (
    (EULER_MARUYAMA, "Euler–Maruyama, strong order 0.5", "Kloeden & Platen (1992), 10.2"),
    (MILSTEIN, "Milstein without derivatives, diagonal noise, strong order 1", "Kloeden & Platen (1992), 11.1"),
    (SRI, "stochastic Runge–Kutta SRI1W1, diagonal noise, strong order 1.5",
     "Rößler, SIAM J. Numer. Anal. 48 (2010) 922–952, table 6.2"),
):  # fmt: skip
    register(
        StepperSpec(
            _scheme.name, ("sde",), "stochastic", int(_scheme.weak_order), _scheme.stages, "linear", 1,
            _text, _ref, _scheme,
        )
    )  # fmt: skip
