"""The registry of steppers: one frozen `StepperSpec` per method."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from dynlib.arguments import checked, is_number, said
from dynlib.errors import ConfigError, UnknownNameError, shortened
from dynlib.markup import panel, table
from dynlib.steppers.taylor import MAX_ORDER, MIN_ORDER

_BELOW_ONE = ("safety", "min_factor")
_MAY_BE_ZERO = ("min_step", "order")
_EXPONENTS = ("beta1", "beta2", "beta3")
_OF_ADAPTIVE = ("rtol", "atol", "max_step", "min_step")
_ELSEWHERE = {
    "lsoda": "auto", "odeint": "auto", "ode45": "rk45", "ode23": "bs32", "rk23": "bs32", "ode113": "taylor",
    "ode15s": "bdf", "ode23s": "rodas4", "ode23t": "tr-bdf2a", "ode78": "verner7", "ode89": "verner9", "cvode": "bdf",
    "vode": "bdf", "radau": "rodas5p", "tsit": "tsit5", "leapfrog": "verlet", "heun": "rk2", "forward_euler": "euler",
    "backward_euler": "sdirk2", "euler-maruyama": "euler_maruyama", "em": "euler_maruyama",
    "vern7": "verner7", "vern9": "verner9", "dp5": "rk45", "dp8": "dop853", "rk8": "dop853",
}  # fmt: skip
"""Methods of other programs, in lower case, and what is here for the same problems."""
OPTIONS_ELSEWHERE = {
    "tol": "rtol", "tolerance": "rtol", "reltol": "rtol", "rel_tol": "rtol", "abstol": "atol", "abs_tol": "atol",
    "hmax": "max_step", "hmin": "min_step", "dtmax": "max_step", "dtmin": "min_step", "max_dt": "max_step",
    "min_dt": "min_step", "h": "dt", "step_size": "dt", "timestep": "dt",
}  # fmt: skip
"""What options are called elsewhere, in lower case."""
_OTHER_NAMES = {"dt_min": "min_step", "dt_max": "max_step"}


class Memory(Struct, frozen=True):
    """A number, or a vector with one number per component of the state, that a stepper keeps between two steps.

    `block` is "times" (float64), "reals" (the model's dtype, all vectors) or "counts" (int64); `on_edit` and `fresh`
    as in the layout of the state. Of a table of vectors, `rows` says how many it has. A count is at most `most` (0:
    any); what a file says beyond that is refused.
    """

    name: str
    block: str
    vector: bool = False
    on_edit: str = "restart"
    fresh: float = 0.0
    rows: int = 1
    most: int = 0


ADAPTIVE_MEMORY = (
    Memory("k1", "reals", vector=True),
    Memory("h", "times"),  # the step to try next; begins at the given first step, or 0 to choose it
    Memory("error_before", "times", fresh=1e-4),  # as in the code DOPRI5 of Hairer & Wanner
    Memory("error_earlier", "times", fresh=1e-4),
    Memory("k1_valid", "counts", most=1),
    Memory("rejected", "counts", on_edit="keep"),
)


class StepperSpec(Struct, frozen=True):
    """A method: its mathematics (`method`), what it can do, and its options with their defaults.

    `order` is that of a method for equations without noise, and the weak order, rounded down, of one for stochastic
    equations (whose `method` has both orders exactly). `interpolant` is "hold" (the last value), "linear" (the chord),
    "hermite" (cubic, from values and slopes at both ends of the step) or "dense" (the method's own continuous
    extension); `interpolant_order` is its order of accuracy. `stiff`: made for stiff problems; `symplectic`: keeps the
    symplectic form of a separable Hamiltonian system. `memory` is what the method keeps between two steps.
    `order_from` gives the order that the options ask for, where a method has one for each.

    >>> import dynlib
    >>> spec = dynlib.get_stepper("dop853")
    >>> spec.order, spec.adaptive, spec.stiff, spec.interpolant_order
    (8, True, False, 7)
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
    method: object = None
    adaptive: bool = False
    stiff: bool = False
    symplectic: bool = False
    aliases: tuple[str, ...] = ()
    options: tuple[tuple[str, float], ...] = ()
    memory: tuple[Memory, ...] = ()
    order_from: Callable[[Mapping[str, float]], int] | None = None

    def __repr__(self) -> str:
        steps = "adapts its steps" if self.adaptive else "fixed steps"
        return f"<stepper {self.name!r}: {self.description}; order {self.order}, {steps}>"

    def _repr_html_(self) -> str:
        marks = [("made for", "stiff problems")] if self.stiff else []
        marks += [("keeps", "the symplectic form")] if self.symplectic else []
        facts = [
            ("for", ", ".join(self.kinds)),
            ("family", self.family),
            ("order", f"{self.order}, in {self.stages} stage{'s' if self.stages != 1 else ''}"),
            ("steps", "adapted to the tolerances" if self.adaptive else "fixed"),
            ("between steps", f"{self.interpolant}, order {self.interpolant_order}"),
            *marks,
            ("options", ", ".join(f"{name} = {value:g}" for name, value in self.options) or "—"),
            ("reference", self.reference),
        ]
        return panel(f"{self.name}: {self.description}", table(facts))

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options, in the order of their values."""
        return tuple(name for name, _ in self.options)

    def takes(self, option: str) -> bool:
        """Whether it has an option of this name."""
        return _OTHER_NAMES.get(option, option) in self.option_names

    def configure(self, **values: float) -> tuple[float, ...]:
        """Option values in their order, defaults filled in. Raises `ConfigError` for unknown or impossible ones."""
        known = dict(self.options)
        given: dict[str, float] = {}
        for word, value in values.items():
            name = word if word in known else _OTHER_NAMES.get(word, word)
            if name not in known:
                hint = "" if self.adaptive or name not in _OF_ADAPTIVE else (
                    "its steps are fixed: give dt, or take one that adapts them, such as 'rk45' or 'rodas5p'"
                )  # fmt: skip
                raise UnknownNameError(f"option of stepper {self.name!r}:", word, known, OPTIONS_ELSEWHERE, hint)
            if name in given:
                raise ConfigError(f"option {name!r} is given twice, also as {_twin(name)!r}")
            given[name] = _checked(name, value)
        config = {**known, **given}
        if config.get("min_step", 0.0) > config.get("max_step", float("inf")):
            raise ConfigError(f"min_step = {config['min_step']!r} is greater than max_step = {config['max_step']!r}")
        return tuple(config.values())

    def compiled_for(self, config: tuple[float, ...]) -> StepperSpec:
        """The method as code is made for it under these options: of the order that they ask for."""
        if self.order_from is None:
            return self
        order = self.order_from(dict(zip(self.option_names, config, strict=True)))
        return replace(self, order=order, interpolant_order=order)


def _twin(name: str) -> str:
    return next(other for other, same in _OTHER_NAMES.items() if same == name)


def _checked(name: str, value: float) -> float:
    if not is_number(value):
        raise ConfigError(f"option {name!r} must be a number, not {said(value)}")
    if name in _EXPONENTS:
        if not abs(value) <= 10.0:
            raise ConfigError(f"option {name!r} must lie between -10 and 10, not {value!r}")
    elif not (value >= 0.0 if name in _MAY_BE_ZERO else value > 0.0):
        least = "0 or greater" if name in _MAY_BE_ZERO else "greater than 0"
        raise ConfigError(f"option {name!r} must be {least}, not {value!r}")
    if name == "order" and value != 0.0 and not (value == int(value) and MIN_ORDER <= value <= MAX_ORDER):
        raise ConfigError(f"option 'order' must be a whole number from {MIN_ORDER} to {MAX_ORDER}, not {value!r}")
    if name in _BELOW_ONE and not value < 1.0:
        raise ConfigError(f"option {name!r} must be less than 1, not {value!r}: a rejected step must shrink")
    return float(value)


_REGISTRY: dict[str, StepperSpec] = {}


def register(spec: StepperSpec) -> StepperSpec:
    """Add a method. Raises `ConfigError` if a name or alias is taken."""
    for name in (spec.name, *spec.aliases):
        if name in _REGISTRY or any(name in s.aliases for s in _REGISTRY.values()):
            raise ConfigError(f"a stepper named {name!r} exists already")
    _REGISTRY[spec.name] = spec
    return spec


@checked
def get_stepper(name: str) -> StepperSpec:
    """The method of that name or alias. Raises `UnknownNameError`.

    >>> import dynlib
    >>> dynlib.get_stepper("dopri5").name
    'rk45'
    """
    if not isinstance(name, str):
        raise ConfigError(f"a stepper is given by its name, such as 'rk4', not {shortened(repr(name), 60)}")
    for spec in _REGISTRY.values():
        if name == spec.name or name in spec.aliases:
            return spec
    raise UnknownNameError("stepper", name, _REGISTRY, _ELSEWHERE)


@checked
def list_steppers(kind: str | None = None) -> list[str]:
    """Names of all methods, or of those for one kind of model ("ode", "map" or "sde"). Raises `UnknownNameError`.

    >>> import dynlib
    >>> dynlib.list_steppers("sde")
    ['euler_maruyama', 'milstein', 'sri']
    """
    return [s.name for s in select_steppers(kind=kind)]


@checked
def select_steppers(
    *, kind: str | None = None, adaptive: bool | None = None, family: str | None = None, min_order: int = 0
) -> list[StepperSpec]:
    """The methods with the wanted capabilities, in order of registration. Raises `UnknownNameError`.

    >>> import dynlib
    >>> [s.name for s in dynlib.select_steppers(kind="ode", family="explicit_rk", adaptive=False)]
    ['euler', 'rk2', 'rk4']
    """
    kinds = dict.fromkeys(kind for s in _REGISTRY.values() for kind in s.kinds)
    if kind is not None and kind not in kinds:
        raise UnknownNameError("kind of model", kind, kinds)
    families = dict.fromkeys(s.family for s in _REGISTRY.values())
    if family is not None and family not in families:
        raise UnknownNameError("family of steppers", family, families)
    return [
        s
        for s in _REGISTRY.values()
        if (kind is None or kind in s.kinds)
        and (adaptive is None or s.adaptive == adaptive)
        and (family is None or s.family == family)
        and s.order >= min_order
    ]
