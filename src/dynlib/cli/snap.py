"""`dynlib snap info|verify FILE`: what a snapshot file holds, and whether it is whole."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    p = commands.add_parser("snap", help="look at snapshot files", description="Look at snapshot files.")
    actions = p.add_subparsers(required=True, metavar="ACTION")
    display = actions.add_parser("info", help="show name, time, step and pins")
    display.add_argument("file")
    display.set_defaults(action=info)
    check = actions.add_parser("verify", help="check structure, types and digest; with --model, also that it fits")
    check.add_argument("file")
    check.add_argument("--model", help="the model it should fit")
    check.set_defaults(action=verify)


def info(arguments: argparse.Namespace) -> int:
    """Print the metadata."""
    from dataclasses import asdict, fields

    from dynlib.session.lineage import Lineage
    from dynlib.session.snapshot_file import inspect_snapshot

    meta = inspect_snapshot(arguments.file)
    for key in (f.name for f in fields(meta) if f.name not in ("lineage", "document", "results", "store", "observers")):
        value = getattr(meta, key)
        if key == "pins":
            value = asdict(value)
        if isinstance(value, dict):
            print(f"{key}:", *(f"  {k:<18} {v}" for k, v in value.items()), sep="\n")
        else:
            print(f"{key:<20} {value}")
    if meta.results is not None:
        print(f"{'results':<20} {', '.join(meta.results['columns'])}")
    print(Lineage(meta.lineage))
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Check a file; errors are raised with the reason."""
    from dynlib.session.snapshot_file import inspect_snapshot

    meta = inspect_snapshot(arguments.file)
    print(f"whole: {arguments.file}, {meta.model!r} at t = {meta.t:g}, step {meta.step}, digest {meta.digest[:16]}")
    if arguments.model:
        from dynlib.session.sim import setup
        from dynlib.spec.observer import Observer

        observers = [Observer(**each) for each in meta.observers]
        sim = setup(arguments.model, stepper=meta.pins.stepper, jit=False, math=meta.pins.math, observers=observers)
        sim.import_snapshot(arguments.file)
        print(f"fits: {arguments.model}")
    return 0
