"""Keywords that a call does not have: what was probably meant, or where it belongs."""

from __future__ import annotations

from collections.abc import Iterable

from dynlib.errors import ConfigError, UnknownNameError
from dynlib.spec.model import Model
from dynlib.steppers import StepperSpec, get_stepper, list_steppers
from dynlib.steppers.registry import OPTIONS_ELSEWHERE

ARGUMENTS = {
    "setup()": ("stepper", "dt", "jit", "math", "mods", "observers"),
    "run()": (
        "T", "N", "t0", "dt", "ic", "params", "seed", "record", "record_interval", "record_dt", "record_vars",
        "transient", "resume", "tag", "max_steps", "progress", "store", "checkpoint",
    ),
    "ensemble()": (
        "params", "ic", "T", "N", "t0", "dt", "stepper", "transient", "statistics", "histograms", "record_interval",
        "record_dt", "record_vars", "max_steps", "seed", "threads", "jit", "math", "progress",
    ),
    "lyapunov_exponents()": (
        "T", "N", "exponents", "transient", "ic", "params", "stepper", "dt", "samples", "jit", "progress",
    ),
}  # fmt: skip
"""Everything that these take besides the options of the stepper."""
_ELSEWHERE = OPTIONS_ELSEWHERE | {
    "t_end": "T", "tend": "T", "t_max": "T", "tmax": "T", "t_final": "T", "t_stop": "T", "tstop": "T", "t1": "T",
    "duration": "T", "until": "T", "n_steps": "N", "nsteps": "N", "steps": "N", "y0": "ic", "x0": "ic", "u0": "ic",
    "initial_conditions": "ic", "init": "ic", "p": "params", "parameters": "params", "solver": "stepper",
    "method": "stepper", "integrator": "stepper", "h": "dt", "save_every": "record_interval", "saveat": "record_dt",
    "dtout": "record_dt", "burn_in": "transient", "rng": "seed", "variables": "record_vars",
}  # fmt: skip
"""What these are called elsewhere, in lower case."""


def check_keywords(call: str, names: Iterable[str], model: Model, stepper: StepperSpec) -> None:
    """Refuse what is an option of no stepper. Raises `ConfigError`, `UnknownNameError`."""
    options = {option for each in list_steppers() for option in get_stepper(each).option_names}
    for name in names:
        if stepper.takes(name) or name in options:
            continue
        if model.quantity(name) is not None:
            table = "ic" if any(q.name == name for q in model.states) else "params"
            raise ConfigError(
                f"{name!r} is a value of the model, not an argument of {call}; "
                + (f"set it with assign({name}=…) or run(" if call in ("setup()", "run()") else f"give {call[:-1]}")
                + f"{table}={{{name!r}: …}})"
            )
        known = [*ARGUMENTS[call], *stepper.option_names]
        other = next((where for where, those in ARGUMENTS.items() if name in those), None)
        hint = "" if other is None else f"it is an argument of {other}"
        raise UnknownNameError(f"argument of {call}", name, known, _ELSEWHERE, hint)
