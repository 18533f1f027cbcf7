"""`dynlib store info|verify|export DIR`: look at a run directory, check it, write its results to a file."""

from __future__ import annotations

import argparse

from dynlib.cli.completion import completed, files
from dynlib.cli.exits import Exit
from dynlib.cli.facts import lines
from dynlib.cli.parser import Commands, command, group
from dynlib.cli.show import Table, show


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    actions = group(commands, "store", "look at run directories, check and export them")
    p = command(actions, "info", info, "what the run is, how far it is, who uses it")
    p.add_argument("folder", metavar="DIR")
    p = command(actions, "verify", verify, "check every byte")
    p.add_argument("folder", metavar="DIR")
    p.add_argument("--replay", action="store_true", help="also run it anew and compare byte for byte")
    p = command(actions, "export", export, "write its results to a file")
    p.add_argument("folder", metavar="DIR")
    to = p.add_argument("--to", metavar="FORMAT", help="csv, npz, netcdf, zarr or parquet (default: by suffix)")
    completed(to, lambda **_: ("csv", "npz", "netcdf", "zarr", "parquet"))
    out = p.add_argument("--out", metavar="FILE", help="default: named after the folder, beside it")
    completed(out, files("csv", "npz", "nc", "parquet"))


def info(arguments: argparse.Namespace) -> int:
    """Say what the manifest says, how far the run is, who uses it, its states, and how large it is."""
    from dynlib.session.run_info import describe_run

    facts = describe_run(arguments.folder)
    show(arguments, facts, lines(facts))
    return Exit.DONE


def verify(arguments: argparse.Namespace) -> int:
    """Check manifest, states, chunks, order and strangers; with --replay run it anew and compare every byte."""
    from dynlib.session.verification import verify_run

    found = verify_run(arguments.folder, replay=arguments.replay)
    checks = Table((), [("ok" if c.ok else "FAILED", c.name, c.detail) for c in found.checks])
    notes = [f"note: {note}" for note in found.notes]
    show(arguments, found.to_json(), f"{found.path}", checks, *notes, "whole" if found.ok else "NOT whole")
    return Exit.DONE if found.ok else Exit.EARLY


def export(arguments: argparse.Namespace) -> int:
    """Write all samples and log entries to a file, piece by piece."""
    from dynlib.session.open_run import export_run

    written = [str(file) for file in export_run(arguments.folder, arguments.out, arguments.to)]
    show(arguments, {"folder": arguments.folder, "files": written}, *written)
    return Exit.DONE
