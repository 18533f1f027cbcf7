"""Entry point of the command line. Heavy modules are imported by a command when it runs, never for `--help`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from dynlib.cli import model, proof, run, snap, steppers, store
from dynlib.cli.exits import Exit, table
from dynlib.errors import DynlibError
from dynlib.version import VERSION


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(
        prog="dynlib",
        description="Simulate dynamical systems; hold, save and resume them.",
        epilog=f"exit codes:\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"dynlib {VERSION}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (run, store, model, steppers, snap, proof):
        command.add_to(commands)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns one of the exit codes in `cli/exits.py`. A run that SIGTERM ends raises `SystemExit`."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.action(arguments)
    except DynlibError as problem:
        print(f"dynlib: {problem}", file=sys.stderr)
        return Exit.DISK if problem.of_the_disk else Exit.MISTAKE
    except KeyboardInterrupt as stop:
        line_break = "\n" if sys.stderr.isatty() else ""  # after the ^C and the progress on a terminal
        print(f"{line_break}dynlib: {stop or 'interrupted'}", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.DONE
    return code


def entry() -> None:
    """The command as a process: once an interruption is heard, pressing Ctrl-C again does not change how it ends."""
    try:
        code = main()
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    if code == Exit.INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    entry()
