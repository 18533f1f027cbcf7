"""`dynlib verify MODEL|SNAPSHOT` and `dynlib replay SNAPSHOT`: is a continued run the same run, to the last bit?"""

from __future__ import annotations

import argparse

from dynlib.cli.completion import completed, files, models, steppers
from dynlib.cli.exits import Exit
from dynlib.cli.model import MODEL
from dynlib.cli.parser import Commands, command, number, whole
from dynlib.cli.show import Table, show

_VERDICT = {True: "every bit agrees", False: "NOT the same run"}


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    p = command(commands, "verify", verify, "cut a run in many ways and compare every bit")
    completed(p.add_argument("model", metavar="MODEL", help=MODEL), models)
    p.add_argument("--T", type=number, help="absolute end time (default: the model's t_end)")
    p.add_argument("--cuts", type=whole, default=5, help="how many stops (default: 5)")
    completed(p.add_argument("--stepper", help="see: dynlib steppers list"), steppers)
    p.add_argument("--no-process", action="store_true", help="leave out the run in a new process")
    p.add_argument("--no-jit", action="store_true", help="interpret the generated code instead of compiling it")
    p = command(commands, "replay", replay, "run a snapshot's lineage again from its root")
    completed(p.add_argument("file", metavar="FILE", help="a snapshot file (.npz), or a run directory for its last "
                             "state"), files("npz"))  # fmt: skip
    p.add_argument("--no-jit", action="store_true", help="interpret the generated code instead of compiling it")


def verify(arguments: argparse.Namespace) -> int:
    """Run once without a stop, then cut, with files, with small buffers and in a new process; compare every bit."""
    from dynlib.errors import ConfigError
    from dynlib.session.sim import open_snapshot, setup

    jit = not arguments.no_jit
    if arguments.model.endswith(".npz"):
        if arguments.stepper:
            raise ConfigError("--stepper: a snapshot file brings its own")
        sim = open_snapshot(arguments.model, jit=jit)
    else:
        sim = setup(arguments.model, stepper=arguments.stepper, jit=jit)
    end = sim.full_model.model.sim.t_end if arguments.T is None else arguments.T
    if end is None:
        raise ConfigError("give --T, the absolute end time: the model has no t_end of its own")
    found = sim.verify_restart(end, arguments.cuts, process=not arguments.no_process)
    facts = {
        "model": sim.full_model.model.name,
        "stepper": sim.full_model.stepper.name,
        "ok": found.ok,
        "t_from": found.t_from,
        "t_to": found.t_to,
        "steps": found.steps,
        "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in found.checks],
    }
    show(
        arguments,
        facts,
        f"{facts['model']} with {facts['stepper']}\nt = {found.t_from:g} … {found.t_to:g}, {found.steps} steps",
        Table((), [(_same(c.ok), c.name, c.detail) for c in found.checks]),
        _VERDICT[found.ok],
    )
    return Exit.DONE if found.ok else Exit.EARLY


def replay(arguments: argparse.Namespace) -> int:
    """Run the lineage in a snapshot file again from its root, and compare the bits of every moment on the way."""
    from dynlib.session.proof import replay as run_again
    from dynlib.session.sim import open_snapshot
    from dynlib.session.snapshot_file import inspect_snapshot
    from dynlib.session.stored_snapshot import file_of

    file = file_of(arguments.file)
    meta = inspect_snapshot(file)
    sim = open_snapshot(file, jit=not arguments.no_jit)
    found = run_again(sim.full_model, meta.lineage)
    moments = [{"name": name, "t": t, "step": step, "ok": same} for name, t, step, same in found.moments]
    show(
        arguments,
        {"file": str(file), "model": meta.model, "ok": found.ok, "moments": moments},
        Table((), [(_same(same), name, f"t = {t:g}", f"step {step}") for name, t, step, same in found.moments]),
        _VERDICT[found.ok],
    )
    return Exit.DONE if found.ok else Exit.EARLY


def _same(ok: bool) -> str:
    return "equal" if ok else "DIFFERS"
