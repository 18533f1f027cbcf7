"""The advance fragments: one module per family of methods, written once for every form of vectors.

The module of a family is imported when one of its steppers is compiled: a session should start at once.
"""

from __future__ import annotations

from dynlib.compile.advance.parts import Advance
from dynlib.compile.forms import Form
from dynlib.errors import ConfigError
from dynlib.spec.model import Model
from dynlib.steppers.adams_bashforth import AdamsBashforth
from dynlib.steppers.bdf import Differences, TwoStep
from dynlib.steppers.composition import Composition
from dynlib.steppers.dirk import Diagonal
from dynlib.steppers.explicit_rk import Tableau
from dynlib.steppers.registry import StepperSpec
from dynlib.steppers.rosenbrock import Rosenbrock
from dynlib.steppers.stochastic import Stochastic
from dynlib.steppers.switching import Switching

__all__ = ["Advance", "advance_of"]


def advance_of(model: Model, stepper: StepperSpec, form: Form, used: set[str]) -> Advance:
    """The fragment of a stepper for one model."""
    match stepper.method:
        case Tableau() as tableau if stepper.adaptive:
            from dynlib.compile.advance.embedded import embedded

            return embedded(model, stepper, tableau, form)
        case Tableau() as tableau:
            from dynlib.compile.advance.fixed import explicit

            return explicit(model, tableau, form)
        case AdamsBashforth() as method:
            from dynlib.compile.advance.fixed import adams_bashforth

            return adams_bashforth(model, method, form)
        case Composition() as method:
            from dynlib.compile.advance.symplectic import symplectic

            return symplectic(model, stepper, method, form, used)
        case Diagonal() as method:
            from dynlib.compile.advance.dirk import dirk

            return dirk(model, stepper, method, form, used)
        case Rosenbrock() as method:
            from dynlib.compile.advance.rosenbrock import rosenbrock

            return rosenbrock(model, stepper, method, form, used)
        case Differences() as formulas:
            from dynlib.compile.advance.bdf import bdf

            return bdf(model, stepper, formulas, form, used)
        case TwoStep():
            from dynlib.compile.advance.bdf import bdf2, bdf2_adaptive

            return (bdf2_adaptive if stepper.adaptive else bdf2)(model, stepper, form, used)
        case Switching() as pair:
            from dynlib.compile.advance.switching import switching

            return switching(model, stepper, pair, form, used)
        case Stochastic() as scheme:
            from dynlib.compile.advance.stochastic import stochastic

            return stochastic(model, stepper, scheme, form, used)
    if stepper.family == "taylor":
        from dynlib.compile.advance.taylor import taylor

        return taylor(model, stepper, form, used)
    if stepper.family != "iteration":
        raise ConfigError(f"no code for stepper family {stepper.family!r}")
    from dynlib.compile.advance.fixed import iteration

    return iteration(model, form)
