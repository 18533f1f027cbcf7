"""`dynlib model validate|show|list`: check a model description, and show what it says or becomes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    p = commands.add_parser("model", help="check or show a model", description="Check or show a model.")
    actions = p.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("validate", help="check a model and say what is wrong with it")
    check.add_argument("model")
    check.set_defaults(action=validate)
    display = actions.add_parser("show", help="show states, parameters, equations and events")
    display.add_argument("model")
    display.add_argument("--source", action="store_true", help="show the generated code instead")
    display.add_argument("--stepper", help="stepper of the generated code")
    display.set_defaults(action=show)
    listing = actions.add_parser("list", help="list the built-in models")
    listing.set_defaults(action=list_models)


def validate(arguments: argparse.Namespace) -> int:
    """Check a model; errors are raised with file, table and key."""
    from dynlib.spec.locations import load_model

    model = load_model(arguments.model)
    print(f"valid: {model.kind} {model.name!r}, {model.n_states} states, {model.n_params} parameters, "
          f"{len(model.events)} events")  # fmt: skip
    print(f"structure {model.structure_hash}")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print a model in canonical spelling, or the code generated for it."""
    from dynlib.session.full_model import build
    from dynlib.spec.locations import load_model

    if arguments.source:
        print(build(arguments.model, stepper=arguments.stepper, jit=False).kernel.source, end="")
        return 0
    model = load_model(arguments.model)
    print(f"{model.name} ({model.kind}, {model.dtype})  {model.source}")
    for title, group in (("states", model.states), ("parameters", model.params)):
        print(f"\n{title}")
        for q in group:
            size = "" if q.size is None else f"[{q.size}]"
            values = ", ".join(f"{v:g}" for v in q.values[:4]) + (", …" if len(q.values) > 4 else "")
            print(f"  {q.name}{size} = {values}")
    structure = model.structure
    for title in ("equations", "aux", "functions"):
        lines = structure[title]
        if isinstance(lines, list) and lines:
            print(f"\n{title}", *(f"  {line}" for line in lines), sep="\n")
    if model.events:
        print("\nevents")
        for event in model.events:
            logged = f", logs {', '.join(label for label, _ in event.log)}" if event.log else ""
            print(f"  {event.name} ({' and '.join(event.phases)}){logged}")
    if model.presets:
        print("\npresets:", ", ".join(p.name for p in model.presets))
    print(f"\nstructure {model.structure_hash}")
    return 0


def list_models(arguments: argparse.Namespace) -> int:
    """Print the locations of the built-in models."""
    from dynlib.spec.locations import builtin_models

    print("\n".join(builtin_models()))
    return 0
