"""Entry point of the command line. Heavy modules are imported by a command when it runs, never for `--help`."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence

from dynlib.cli import completion, explore, model, proof, run, snap, steppers, store
from dynlib.cli.exits import Exit, table
from dynlib.cli.parser import Parser
from dynlib.cli.show import as_json
from dynlib.errors import DynlibError, printable
from dynlib.version import VERSION

_FIRST = """\
what to try first:
  dynlib model list                           the models that come with the library
  dynlib model show builtin://ode/izhikevich  what one of them says
  dynlib run builtin://ode/izhikevich --T 200 --snapshot rest.npz
                                              simulate, and keep the state at the end
  dynlib run rest.npz --T 500 --set I=15 --out spikes.csv
                                              go on from there with another current
  dynlib COMMAND --help                       what a command takes
"""


def parser() -> Parser:
    """The whole command line."""
    root = Parser(
        prog="dynlib",
        description="Simulate dynamical systems; hold, save and resume them.",
        epilog=f"{_FIRST}\nexit codes:\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("-V", "--version", action="version", version=f"dynlib {VERSION}")
    commands = root.add_subparsers(metavar="COMMAND", title="commands")
    for part in (run, proof, snap, store, model, steppers, explore, completion):
        part.add_to(commands)
    root.set_defaults(action=None, parser=root)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns one of the exit codes in `cli/exits.py`. A run that SIGTERM ends raises `SystemExit`."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["help"]:
        given = [*given[1:], "--help"]
    root = parser()
    completion.answer(root)
    try:
        arguments, extra = root.parse_known_args(given)
        arguments.parser.check(extra)
        if arguments.action is None:
            root.print_help()
            return Exit.DONE
        code: int = arguments.action(arguments)
    except DynlibError as problem:
        end = Exit.DISK if problem.of_the_disk else Exit.MISTAKE
        return _failed(given, end, type(problem).__name__, f"{problem}")
    except KeyboardInterrupt as stop:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # after the ^C and the progress
        return _failed(given, Exit.INTERRUPTED, "KeyboardInterrupt", str(stop) or "interrupted")
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.DONE
    return code


def _failed(given: Sequence[str], end: Exit, kind: str, message: str) -> Exit:
    """Say what went wrong: on standard error, and with `--json` as the one object of the command."""
    if "--json" in given:
        print(as_json({"error": {"kind": kind, "message": message}, "exit": int(end)}))
    print(f"dynlib: {printable(message)}", file=sys.stderr)
    return end


def entry() -> None:
    """The command as a process: once an interruption is heard, pressing Ctrl-C again does not change how it ends."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no arrow shows another sign, and no traceback
    try:
        code = main()
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    if code == Exit.INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    entry()
