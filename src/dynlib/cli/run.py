"""`dynlib run MODEL` and `dynlib resume DIR`: simulate, show a summary, write results and a snapshot."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlib.cli.exits import Exit
from dynlib.errors import ConfigError, DynlibError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from dynlib.session.sim import RunOutcome, Sim


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the commands."""
    p = commands.add_parser("run", help="simulate a model", description=run.__doc__)
    p.add_argument(
        "model", help="path to a .toml file, builtin://ode/izhikevich, or a snapshot file (.npz) to go on from"
    )
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
    p.add_argument("--store", metavar="DIR", help="run in this folder; the same command again goes on with it")
    _add_common(p)
    p.add_argument("--with-results", action="store_true", help="put what was recorded into the snapshot file as well")
    p.set_defaults(action=run)
    q = commands.add_parser("resume", help="go on with the run in a folder", description=resume.__doc__)
    q.add_argument("store", metavar="DIR", help="the folder of a run, made with: dynlib run --store DIR")
    _add_common(q)
    q.set_defaults(action=resume, with_results=False)


def _add_common(p: argparse.ArgumentParser) -> None:
    p.add_argument("--T", type=float, help="absolute end time")
    p.add_argument("--N", type=int, help="number of steps, instead of --T")
    p.add_argument("--max-steps", type=int, metavar="N", help="end early after so many steps")
    p.add_argument("--checkpoint", metavar="EVERY", help="with a folder: how often it is safe to be killed: 30s, 5min "
                   "(default), 2h, '100000 steps', '50 t' (simulated time)")  # fmt: skip
    p.add_argument("--out", metavar="FILE", help="write results to FILE (.csv, .npz, .nc or .parquet)")
    p.add_argument("--snapshot", metavar="FILE", help="write the final state to FILE (.npz)")
    p.add_argument("--no-jit", action="store_true", help="interpret the generated code instead of compiling it")
    p.add_argument("--quiet", action="store_true", help="no progress and no summary")


def run(arguments: argparse.Namespace) -> int:
    """Simulate a model. With --store, the same command again continues after any end, or says that all is done."""
    from dynlib.session.every import DEFAULT_CHECKPOINT

    _check_files(arguments)
    if arguments.with_results and not arguments.snapshot:
        raise ConfigError("--with-results needs --snapshot FILE, the file that is to carry them")
    if arguments.with_results and arguments.store:
        raise ConfigError("--with-results: the results stand in the folder of --store already")
    if arguments.checkpoint and not arguments.store:
        raise ConfigError("--checkpoint needs --store DIR, the folder for the checkpoints")
    sim = _session(arguments)
    plan: dict[str, Any] = {
        "N": arguments.N,
        "record": True,
        "record_vars": arguments.record.split(",") if arguments.record else None,
        "record_interval": arguments.record_interval,
        "record_dt": arguments.record_dt,
        "transient": arguments.transient,
        "seed": arguments.seed,
        "max_steps": arguments.max_steps,
        "progress": _progress(arguments),
    }
    with _one_line_each(), _told_where(arguments.store):
        if arguments.store:
            every = arguments.checkpoint or DEFAULT_CHECKPOINT
            outcome = sim.resume_or_start(arguments.store, arguments.T, checkpoint=every, **plan)
        else:
            outcome = sim.run(arguments.T, **plan)
    return _report(arguments, sim, outcome)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with the run in a folder, to its own end or to another one, with nothing but the folder."""
    from dynlib.session.open_run import open_run

    _check_files(arguments)
    with _one_line_each(), _told_where(arguments.store):
        sim, outcome = open_run(arguments.store).resume(
            arguments.T,
            N=arguments.N,
            max_steps=arguments.max_steps,
            checkpoint=arguments.checkpoint,
            progress=_progress(arguments),
            jit=not arguments.no_jit,
        )
    return _report(arguments, sim, outcome)


def _session(arguments: argparse.Namespace) -> Sim:
    """The session as it stands before the run."""
    from dynlib.session.sim import open_snapshot, setup

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
    return sim


def _report(arguments: argparse.Namespace, sim: Sim, outcome: RunOutcome) -> int:
    """Write the files that were asked for, and print a summary; what stands on disk is not read into memory."""
    from dynlib.results.export import export_results
    from dynlib.results.recorded import InMemory
    from dynlib.session.open_run import open_run

    if arguments.snapshot:
        sim.export_snapshot(arguments.snapshot, results=arguments.with_results)
    recorded = open_run(arguments.store).recorded() if arguments.store else InMemory(sim.raw_results())
    written = export_results(recorded, arguments.out) if arguments.out else []
    if not arguments.quiet:
        if arguments.store:
            print(f"{outcome.kind}{': nothing was left to do' if outcome.kind == 'complete' else ''}")
        print(f"{outcome.status.name}: {outcome.status.meaning}")
        total = f" (of {outcome.step})" if outcome.step != outcome.steps else ""
        print(f"t = {outcome.t:g} after {outcome.steps}{total} steps in {outcome.seconds:.3g} s (compilation included)")
        shown = list(sim.state_dict().items())[:12]
        print("\n".join(f"  {name} = {value}" for name, value in shown))
        place = f" in {arguments.store}" if arguments.store else ""
        print(f"{recorded.rows} samples, {recorded.entries} log entries{place}")
        for file in written:
            print(f"results → {file}")
        if arguments.snapshot:
            print(f"snapshot → {arguments.snapshot}")
    return Exit.DONE if outcome.ok else Exit.EARLY


def _check_files(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` for files that cannot be written: said before a long run, not after it."""
    from dynlib.results.export import EXPORTERS

    if arguments.out and not arguments.out.endswith(tuple(EXPORTERS)):
        raise ConfigError(f"--out {arguments.out}: the suffix must be one of {', '.join(EXPORTERS)}")
    for option, file in (("--out", arguments.out), ("--snapshot", arguments.snapshot)):
        if file and not Path(file).parent.is_dir():
            raise ConfigError(f"{option} {file}: there is no folder {Path(file).parent}")


def _progress(arguments: argparse.Namespace) -> bool:
    return not arguments.quiet and sys.stderr.isatty()


@contextmanager
def _one_line_each() -> Iterator[None]:
    """Warnings as lines on standard error, at once."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"dynlib: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


@contextmanager
def _told_where(folder: str | None) -> Iterator[None]:
    """An interruption says in one line what stands where, and how to go on."""
    from dynlib.session.open_run import open_run

    def standing() -> str:
        if folder is None:
            return "nothing is kept; a run with --store DIR can be continued"
        try:
            where = open_run(folder).standing()
            return f"{folder} stands at {where}; to go on: the same command, or dynlib resume {folder}"
        except DynlibError:
            return f"nothing stands in {folder} yet; to start: the same command"

    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {standing()}") from None
    except SystemExit:
        print(f"dynlib: terminated; {standing()}", file=sys.stderr)
        raise


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
