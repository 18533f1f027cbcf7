"""`dynlib steppers list`: the methods and what each can do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    p = commands.add_parser("steppers", help="list the steppers", description="The methods of integration.")
    actions = p.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list all steppers")
    listing.add_argument("--kind", choices=("ode", "map", "sde"), help="only those for this kind of model")
    listing.set_defaults(action=list_all)


def list_all(arguments: argparse.Namespace) -> int:
    """Print one line per stepper."""
    from dynlib.steppers import select_steppers

    print(f"{'name':<16}{'order':<7}{'steps':<10}description")
    for spec in select_steppers(kind=arguments.kind):
        print(f"{spec.name:<16}{spec.order or '—':<7}{'adaptive' if spec.adaptive else 'fixed':<10}{spec.description}")
        if spec.options:
            print(" " * 25 + "options: " + ", ".join(f"{name}={value:g}" for name, value in spec.options))
    return 0
