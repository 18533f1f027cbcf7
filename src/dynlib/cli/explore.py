"""`dynlib explore MODEL`: a study in the browser."""

from __future__ import annotations

import argparse
import sys

from dynlib.cli.exits import Exit
from dynlib.cli.parser import Commands, command, numbers, whole
from dynlib.cli.run import add_session, session_of
from dynlib.cli.show import show


def add_to(commands: Commands) -> None:
    """Declare the command."""
    p = command(commands, "explore", explore, "steer a model in the browser: sliders, plots, snapshots, branches")
    add_session(p)
    p.add_argument("--no-jit", action="store_true", help="interpret the generated code instead of compiling it")
    p.add_argument("--port", type=whole, default=0, help="port on 127.0.0.1 (default: 0, a free one)")
    p.add_argument("--no-browser", action="store_true", help="only print the address")
    p.set_defaults(start=None)


def explore(arguments: argparse.Namespace) -> int:
    """Serve a page to this machine alone and open it in the browser; Ctrl-C ends it. Who has the address steers it."""
    import secrets
    import webbrowser

    from dynlib.explore.script import Origin
    from dynlib.explore.server import listening, server
    from dynlib.explore.study import Study

    sim = session_of(arguments)
    origin = Origin(_code(arguments), len(sim.lineage().parts) - 1)
    with listening(arguments.port) as place:
        port, token = place.getsockname()[1], secrets.token_urlsafe(24)
        address = f"http://127.0.0.1:{port}/{token}/"
        study = Study(sim, origin)
        try:
            serving = server(study, port, token)
            show(arguments, {"address": address, "port": port}, address, "Ctrl-C ends it")
            sys.stdout.flush()
            place.listen()
            if not arguments.no_browser:
                webbrowser.open(address)
            serving.run(sockets=[place])
        except KeyboardInterrupt:
            pass
        finally:
            study.close()
    return Exit.DONE


def _code(arguments: argparse.Namespace) -> str:
    """The line of Python that makes the session as it was before any value was set."""
    jit = [] if not arguments.no_jit else ["jit=False"]
    if arguments.model.endswith(".npz"):
        return f"sim = dynlib.open_snapshot({', '.join([repr(arguments.model), *jit])})"
    settings = {"stepper": arguments.stepper, "dt": arguments.dt}
    given = [f"{name}={value!r}" for name, value in settings.items() if value is not None]
    given += [f"mods={arguments.mod!r}"] if arguments.mod else []
    options = numbers(arguments.option, "--option")
    given += [f"**{options!r}"] if options else []
    return f"sim = dynlib.setup({', '.join([repr(arguments.model), *given, *jit])})"
