"""Entry point of the command line. Heavy modules are imported by a command when it runs, never for `--help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dynlib.cli import model, proof, run, snap, steppers
from dynlib.errors import DynlibError
from dynlib.version import VERSION


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(prog="dynlib", description="Simulate dynamical systems; hold, save and resume them.")
    root.add_argument("--version", action="version", version=f"dynlib {VERSION}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (run, model, steppers, snap, proof):
        command.add_to(commands)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Exit codes: 0 done, 1 the run ended early, 2 a mistake in what was asked, 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.action(arguments)
    except DynlibError as problem:
        print(f"dynlib: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\ndynlib: {stop or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
