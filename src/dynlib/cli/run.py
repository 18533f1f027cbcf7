"""`dynlib run MODEL`: simulate, show a summary, write results and a snapshot."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlib.errors import ConfigError

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    p = commands.add_parser("run", help="simulate a model", description="Simulate a model.")
    p.add_argument(
        "model", help="path to a .toml file, builtin://ode/izhikevich, or a snapshot file (.npz) to go on from"
    )
    p.add_argument("--T", type=float, help="absolute end time")
    p.add_argument("--N", type=int, help="number of steps, instead of --T")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a state or parameter (repeat)")
    p.add_argument("--preset", help="apply one of the model's presets first")
    p.add_argument("--stepper", help="see: dynlib steppers list")
    p.add_argument("--dt", type=float, help="step size (first step, if the stepper is adaptive)")
    p.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="stepper option, such as rtol=1e-9"
    )
    p.add_argument("--record", metavar="NAMES", help="comma-separated variables to record (default: all)")
    p.add_argument("--record-interval", type=int, metavar="K", help="record every K-th step")
    p.add_argument("--record-dt", type=float, metavar="DT", help="record on a grid of times")
    p.add_argument("--seed", type=int, help="seed of a random model (default: 0)")
    p.add_argument("--transient", type=float, default=0.0, metavar="SPAN", help="simulate this long before recording")
    p.add_argument("--from", dest="start", metavar="FILE", help="continue from this snapshot file")
    p.add_argument("--out", metavar="FILE", help="write results to FILE (.csv or .npz)")
    p.add_argument("--snapshot", metavar="FILE", help="write the final state to FILE (.npz)")
    p.add_argument("--with-results", action="store_true", help="put what was recorded into the snapshot file as well")
    p.add_argument("--no-jit", action="store_true", help="interpret the generated code instead of compiling it")
    p.add_argument("--quiet", action="store_true", help="no progress and no summary")
    p.set_defaults(action=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command."""
    from dynlib.results.export import EXPORTERS, export_results
    from dynlib.session.sim import open_snapshot, setup

    if arguments.out and not arguments.out.endswith(tuple(EXPORTERS)):
        raise ConfigError(f"--out {arguments.out}: the suffix must be one of {', '.join(EXPORTERS)}")
    if arguments.with_results and not arguments.snapshot:
        raise ConfigError("--with-results needs --snapshot FILE, the file that is to carry them")
    for option, file in (("--out", arguments.out), ("--snapshot", arguments.snapshot)):
        if file and not Path(file).parent.is_dir():  # said before a long run, not after it
            raise ConfigError(f"{option} {file}: there is no folder {Path(file).parent}")
    options = _pairs(arguments.option, "--option")
    values = _pairs(arguments.set, "--set")
    for name in options:
        if name in ("stepper", "dt", "jit", "math", "mods"):
            raise ConfigError(f"--option {name}: not an option of a stepper")
    keywords: dict[str, Any] = {
        "stepper": arguments.stepper,
        "dt": arguments.dt,
        "jit": not arguments.no_jit,
        **options,
    }
    if arguments.model.endswith(".npz"):
        given = [f"--{name}" for name in ("stepper", "dt", "start") if keywords.get(name) is not None]
        if given or options or arguments.start:
            raise ConfigError(f"{', '.join(given) or '--option or --from'}: a snapshot file brings its own")
        sim = open_snapshot(arguments.model, jit=not arguments.no_jit)
    else:
        sim = setup(arguments.model, **keywords)
    if arguments.start:
        sim.import_snapshot(arguments.start)
    if arguments.preset:
        sim.apply_preset(arguments.preset)
    if values:
        sim.assign(values)
    recording: dict[str, Any] = {"record_interval": arguments.record_interval, "record_dt": arguments.record_dt}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the outcome is printed below
        outcome = sim.run(
            arguments.T,
            N=arguments.N,
            record=True,
            record_vars=arguments.record.split(",") if arguments.record else None,
            transient=arguments.transient,
            seed=arguments.seed,
            progress=not arguments.quiet and sys.stderr.isatty(),
            **recording,
        )
    if arguments.snapshot:
        sim.export_snapshot(arguments.snapshot, results=arguments.with_results)
    if arguments.out:
        try:
            export_results(sim.results(), arguments.out)
        except OSError as problem:
            raise ConfigError(f"--out {arguments.out}: {problem.strerror or problem}") from None
    if not arguments.quiet:
        print(f"{outcome.status.name}: {outcome.status.meaning}")
        print(f"t = {outcome.t:g} after {outcome.steps} steps in {outcome.seconds:.3g} s (compilation included)")
        shown = list(sim.state_dict().items())[:12]
        print("\n".join(f"  {name} = {value}" for name, value in shown))
        print(f"{len(sim.results())} samples" + (f" → {arguments.out}" if arguments.out else ""))
        for name in sim.results().events:
            print(f"event {name}: {len(sim.results().event(name))} entries")
        if arguments.snapshot:
            print(f"snapshot → {arguments.snapshot}")
    return 0 if outcome.ok else 1


def _pairs(texts: list[str], option: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            raise ConfigError(f"{option} {text}: expected NAME=NUMBER") from None
        if not equals or not name.strip():
            raise ConfigError(f"{option} {text}: expected NAME=NUMBER")
    return values
