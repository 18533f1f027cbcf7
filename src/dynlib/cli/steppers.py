"""`dynlib steppers list|show`: the methods, what each can do, and its options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dynlib.cli.completion import completed
from dynlib.cli.completion import steppers as names
from dynlib.cli.exits import Exit
from dynlib.cli.facts import lines
from dynlib.cli.parser import Commands, command, group
from dynlib.cli.show import Table, show

if TYPE_CHECKING:
    from dynlib.steppers import StepperSpec


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    actions = group(commands, "steppers", "list and show the methods of integration")
    p = command(actions, "list", list_all, "list all steppers")
    p.add_argument("--kind", choices=("ode", "map", "sde"), help="only those for this kind of model")
    p = command(actions, "show", show_one, "show what a stepper can do, and its options")
    completed(p.add_argument("stepper", metavar="NAME"), names)


def list_all(arguments: argparse.Namespace) -> int:
    """List the steppers; docs/steppers.md says which to choose."""
    from dynlib.steppers import select_steppers

    chosen = select_steppers(kind=arguments.kind)
    rows = [
        (s.name, ", ".join(s.kinds), s.order or None, _steps(s), "yes" if s.stiff else "", s.description)
        for s in chosen
    ]
    show(
        arguments,
        {"steppers": [_facts(s) for s in chosen]},
        Table(("name", "for", "order", "steps", "stiff", "description"), rows, right=(2,)),
    )
    return Exit.DONE


def show_one(arguments: argparse.Namespace) -> int:
    """Show a stepper by its name or another name that it has."""
    from dynlib.steppers import get_stepper

    facts = _facts(get_stepper(arguments.stepper))
    show(arguments, facts, lines(facts))
    return Exit.DONE


def _steps(spec: StepperSpec) -> str:
    return "adaptive" if spec.adaptive else "fixed"


def _facts(spec: StepperSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "description": spec.description,
        "for": list(spec.kinds),
        "order": spec.order or None,
        "stages": spec.stages,
        "steps": _steps(spec),
        "stiff": spec.stiff,
        "symplectic": spec.symplectic,
        "interpolant": spec.interpolant,
        "interpolant_order": spec.interpolant_order,
        "reference": spec.reference,
        "options": dict(spec.options),
    }
