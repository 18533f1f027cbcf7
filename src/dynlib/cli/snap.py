"""`dynlib snap info|verify|diff|tree FILE…`: look at snapshot files, and at the states in run directories."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from dynlib.cli.exits import Exit
from dynlib.cli.facts import lines

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_FILE = "a snapshot file (.npz), or a run directory for its last state"


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    p = commands.add_parser("snap", help="look at snapshot files", description="Look at snapshot files.")
    actions = p.add_subparsers(required=True, metavar="ACTION")
    display = actions.add_parser("info", help="show name, time, step, pins, lineage", description=info.__doc__)
    display.add_argument("file", help=_FILE)
    display.add_argument("--json", action="store_true", help="print JSON")
    display.set_defaults(action=info)
    check = actions.add_parser("verify", help="check structure, types and digest; with --model, also that it fits")
    check.add_argument("file", help=_FILE)
    check.add_argument("--model", help="the model it should fit")
    check.set_defaults(action=verify)
    two = actions.add_parser("diff", help="two snapshots side by side", description=diff.__doc__)
    two.add_argument("a", help=_FILE)
    two.add_argument("b", help=_FILE)
    two.add_argument("--json", action="store_true", help="print JSON")
    two.set_defaults(action=diff)
    family = actions.add_parser("tree", help="how several snapshots came from one another", description=tree.__doc__)
    family.add_argument("files", nargs="+", metavar="FILE", help=_FILE)
    family.set_defaults(action=tree)


def info(arguments: argparse.Namespace) -> int:
    """Show what a snapshot file says of itself."""
    from dynlib.session.lineage import Lineage
    from dynlib.session.snapshot_file import inspect_snapshot
    from dynlib.session.stored_snapshot import file_of

    meta = inspect_snapshot(file_of(arguments.file))
    facts = meta.to_json()
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        print(lines({name: value for name, value in facts.items() if name != "lineage"}))
        print(Lineage(meta.lineage))
    return Exit.DONE


def verify(arguments: argparse.Namespace) -> int:
    """Check a file; errors are raised with the reason."""
    from dynlib.session.snapshot_file import inspect_snapshot
    from dynlib.session.stored_snapshot import file_of

    file = file_of(arguments.file)
    meta = inspect_snapshot(file)
    print(f"whole: {file}, {meta.model!r} at t = {meta.t:g}, step {meta.step}, digest {meta.digest[:16]}")
    if arguments.model:
        from dynlib.session.sim import setup
        from dynlib.spec.observer import Observer

        observers = [Observer(**each) for each in meta.observers]
        sim = setup(arguments.model, stepper=meta.pins.stepper, jit=False, math=meta.pins.math, observers=observers)
        sim.import_snapshot(file)
        print(f"fits: {arguments.model}")
    return Exit.DONE


def diff(arguments: argparse.Namespace) -> int:
    """Show states, parameters and configuration of two snapshots side by side, and what led to each."""
    from dynlib.session.difference import compare
    from dynlib.session.stored_snapshot import snapshot_in

    found = compare(snapshot_in(arguments.a), snapshot_in(arguments.b))
    print(json.dumps(found.to_json(), indent=1) if arguments.json else found)
    return Exit.DONE


def tree(arguments: argparse.Namespace) -> int:
    """Show the files and all snapshots in their lineages as one tree."""
    from dynlib.session.stored_snapshot import tree_in

    print(tree_in(arguments.files))
    return Exit.DONE
