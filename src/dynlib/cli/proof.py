"""`dynlib verify MODEL|SNAPSHOT` and `dynlib replay SNAPSHOT`: is a continued run the same run, to the last bit?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the commands."""
    p = commands.add_parser("verify", help="cut a run in many ways and compare every bit", description=verify.__doc__)
    p.add_argument("model", help="path to a .toml file, builtin://ode/izhikevich, or a snapshot file (.npz)")
    p.add_argument("--T", type=float, help="absolute end time (default: the model's t_end)")
    p.add_argument("--cuts", type=int, default=5, help="how many stops (default: 5)")
    p.add_argument("--stepper", help="see: dynlib steppers list")
    p.add_argument("--no-process", action="store_true", help="leave out the run in a new process")
    p.add_argument("--no-jit", action="store_true", help="interpret the generated code instead of compiling it")
    p.set_defaults(action=verify)
    q = commands.add_parser("replay", help="run a snapshot's lineage again from its root", description=replay.__doc__)
    q.add_argument("file", help="a snapshot file (.npz)")
    q.add_argument("--no-jit", action="store_true", help="interpret the generated code instead of compiling it")
    q.set_defaults(action=replay)


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
    proof = sim.verify_restart(end, arguments.cuts, process=not arguments.no_process)
    print(f"{sim.full_model.model.name} with {sim.full_model.stepper.name}")
    print(proof)
    return 0 if proof.ok else 1


def replay(arguments: argparse.Namespace) -> int:
    """Run the lineage in a snapshot file again from its root, and compare the bits of every moment on the way."""
    from dynlib.session.proof import replay as run_again
    from dynlib.session.sim import open_snapshot
    from dynlib.session.snapshot_file import inspect_snapshot

    meta = inspect_snapshot(arguments.file)
    sim = open_snapshot(arguments.file, jit=not arguments.no_jit)
    found = run_again(sim.full_model, meta.lineage)
    print(found)
    return 0 if found.ok else 1
