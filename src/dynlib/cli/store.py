"""`dynlib store info|verify|export DIR`: look at a run directory, check it, write its results to a file."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from dynlib.cli.exits import Exit
from dynlib.cli.facts import lines

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    p = commands.add_parser("store", help="look at run directories", description="Look at run directories.")
    actions = p.add_subparsers(required=True, metavar="ACTION")
    display = actions.add_parser("info", help="what the run is, how far it is, who uses it", description=info.__doc__)
    display.add_argument("folder", metavar="DIR")
    display.add_argument("--json", action="store_true", help="print JSON")
    display.set_defaults(action=info)
    check = actions.add_parser("verify", help="check every byte", description=verify.__doc__)
    check.add_argument("folder", metavar="DIR")
    check.add_argument("--replay", action="store_true", help="also run it anew and compare byte for byte")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(action=verify)
    out = actions.add_parser("export", help="write its results to a file", description=export.__doc__)
    out.add_argument("folder", metavar="DIR")
    out.add_argument("--to", metavar="FORMAT", help="csv, npz, netcdf or parquet (default: by the suffix of --out)")
    out.add_argument("--out", metavar="FILE", help="default: named after the folder, beside it")
    out.set_defaults(action=export)


def info(arguments: argparse.Namespace) -> int:
    """Say what the manifest says, how far the run is, who uses it, its states, and how large it is."""
    from dynlib.session.run_info import describe_run

    facts = describe_run(arguments.folder)
    print(json.dumps(facts, indent=1) if arguments.json else lines(facts))
    return Exit.DONE


def verify(arguments: argparse.Namespace) -> int:
    """Check manifest, states, chunks, order and strangers; with --replay run it anew and compare every byte."""
    from dynlib.session.verification import verify_run

    found = verify_run(arguments.folder, replay=arguments.replay)
    print(json.dumps(found.to_json(), indent=1) if arguments.json else found)
    return Exit.DONE if found.ok else Exit.EARLY


def export(arguments: argparse.Namespace) -> int:
    """Write all samples and log entries to a file, piece by piece."""
    from dynlib.session.open_run import export_run

    for file in export_run(arguments.folder, arguments.out, arguments.to):
        print(file)
    return Exit.DONE
