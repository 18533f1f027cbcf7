"""`dynlib run MODEL` and `dynlib resume DIR`: simulate, show a summary, write results and a snapshot."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlib.cli.completion import columns, completed, files, models, options, presets, steppers, values
from dynlib.cli.exits import Exit
from dynlib.cli.model import MODEL
from dynlib.cli.parser import Commands, Parser, command, number, numbers, whole
from dynlib.cli.show import show
from dynlib.cli.snap import snapshot_target
from dynlib.errors import ConfigError, DynlibError, suggest

if TYPE_CHECKING:
    from dynlib.session.sim import RunOutcome, Sim


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    p = command(commands, "run", run, "simulate a model, or go on from a snapshot file")
    add_session(p)
    p.add_argument("--t0", type=number, help="begin at this time")
    completed(p.add_argument("--record", metavar="NAMES", help="comma-separated variables to record (default: all)"),
              columns)  # fmt: skip
    p.add_argument("--record-interval", type=whole, metavar="K", help="record every K-th step")
    p.add_argument("--record-dt", type=number, metavar="DT", help="record on a grid of times")
    p.add_argument("--seed", type=whole, help="seed of a random model (default: 0)")
    p.add_argument("--transient", type=number, default=0.0, metavar="SPAN", help="simulate this long before recording")
    p.add_argument("--tag", metavar="NAME", help="name of this segment of the results")
    start = p.add_argument("--from", dest="start", metavar="FILE", help="continue from this snapshot file")
    completed(start, files("npz"))
    p.add_argument("--store", metavar="DIR", help="run in this folder; the same command again goes on with it")
    _add_common(p)
    p.add_argument("--with-results", action="store_true", help="put what was recorded into the snapshot file as well")
    q = command(commands, "resume", resume, "go on with the run in a folder")
    q.add_argument("store", metavar="DIR", help="the folder of a run, made with: dynlib run --store DIR")
    _add_common(q)
    q.set_defaults(with_results=False)


def add_session(p: Parser) -> None:
    """What says which session: the model, its values, its stepper."""
    p.hint = _hint
    completed(p.add_argument("model", metavar="MODEL", help=MODEL), models)
    completed(p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                             help="set a state or parameter (repeat)"), values)  # fmt: skip
    completed(p.add_argument("--preset", help="apply one of the model's presets first"), presets)
    p.add_argument("--mod", action="append", default=[], metavar="NAME", help="apply a mod of the model file (repeat)")
    completed(p.add_argument("--stepper", help="see: dynlib steppers list"), steppers)
    p.add_argument("--dt", type=number, help="step size (first step, if the stepper is adaptive)")
    completed(p.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                             help="stepper option, such as rtol=1e-9 (repeat)"), options)  # fmt: skip


def _add_common(p: Parser) -> None:
    p.add_argument("--T", type=number, help="absolute end time")
    p.add_argument("--N", type=whole, help="number of steps, instead of --T")
    p.add_argument("--max-steps", type=whole, metavar="N", help="end early after so many steps")
    p.add_argument("--checkpoint", metavar="EVERY", help="with a folder: how often it is safe to be killed: 30s, 5min "
                   "(default), 2h, '100000 steps', '50 t' (simulated time)")  # fmt: skip
    out = p.add_argument("--out", metavar="FILE", help="write results to FILE (.csv, .npz, .nc or .parquet)")
    completed(out, files("csv", "npz", "nc", "parquet"))
    completed(p.add_argument("--snapshot", metavar="FILE", help="write the final state to FILE (.npz)"), files("npz"))
    p.add_argument("--name", help="name of that snapshot (default: that of the file)")
    p.add_argument("--no-jit", action="store_true", help="interpret the generated code instead of compiling it")
    p.add_argument("--quiet", action="store_true", help="no progress and no summary")


def _hint(option: str) -> str:
    """What is given in another way: options of steppers."""
    from dynlib.steppers import get_stepper, list_steppers

    name = option.lstrip("-").replace("-", "_")
    if any(name in get_stepper(each).option_names for each in list_steppers()):
        return f"; an option of a stepper is given as --option {name}=VALUE"
    return ""


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
    sim = session_of(arguments)
    plan: dict[str, Any] = {
        "N": arguments.N,
        "t0": arguments.t0,
        "tag": arguments.tag,
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


def session_of(arguments: argparse.Namespace) -> Sim:
    """The session as it stands before the run."""
    from dynlib.session.sim import open_snapshot, setup
    from dynlib.steppers import get_stepper, list_steppers
    from dynlib.steppers.registry import OPTIONS_ELSEWHERE

    given: dict[str, Any] = numbers(arguments.option, "--option")
    values = numbers(arguments.set, "--set")
    every = [get_stepper(name) for name in list_steppers()]
    for name in given:
        if not any(each.takes(name) for each in every):
            known = dict.fromkeys(option for each in every for option in each.option_names)
            raise ConfigError(f"--option {name}: not an option of a stepper{suggest(name, known, OPTIONS_ELSEWHERE)}")
    if Path(arguments.model).is_dir():
        raise ConfigError(f"{arguments.model} is a folder; to go on with a run in it: dynlib resume {arguments.model}")
    if arguments.model.endswith(".npz"):
        brought = {"--stepper": arguments.stepper, "--dt": arguments.dt, "--option": given, "--mod": arguments.mod,
                   "--from": arguments.start}  # fmt: skip
        for option, value in brought.items():
            if value not in (None, [], {}):
                raise ConfigError(f"{option}: {arguments.model} is a snapshot file and brings its own; leave it out")
        sim = open_snapshot(arguments.model, jit=not arguments.no_jit)
    else:
        sim = setup(
            arguments.model,
            stepper=arguments.stepper,
            dt=arguments.dt,
            jit=not arguments.no_jit,
            mods=arguments.mod,
            **given,
        )
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
        name = arguments.name or Path(arguments.snapshot).stem
        sim.export_snapshot(arguments.snapshot, name=name, results=arguments.with_results)
    recorded = open_run(arguments.store).recorded() if arguments.store else InMemory(sim.raw_results())
    written = export_results(recorded, arguments.out) if arguments.out else []
    facts = {
        "model": sim.full_model.model.name,
        "stepper": sim.full_model.stepper.name,
        "kind": outcome.kind,
        "status": outcome.status.name,
        "meaning": outcome.status.meaning,
        "ok": outcome.ok,
        "t": outcome.t,
        "step": outcome.step,
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "states": sim.state_dict(),
        "parameters": sim.param_dict(),
        "samples": recorded.rows,
        "log_entries": recorded.entries,
        "segment": outcome.segment,
        "store": arguments.store,
        "results": [str(file) for file in written],
        "snapshot": arguments.snapshot,
    }
    total = f" (of {outcome.step})" if outcome.step != outcome.steps else ""
    place = f" in {arguments.store}" if arguments.store else ""
    started = f"{outcome.kind}{': nothing was left to do' if outcome.kind == 'complete' else ''}"
    lines = [
        *([started] if arguments.store else []),
        f"{outcome.status.name}: {outcome.status.meaning}",
        f"t = {outcome.t:g} after {outcome.steps}{total} steps in {outcome.seconds:.3g} s (compilation included)",
        *(f"  {name} = {value}" for name, value in list(sim.state_dict().items())[:12]),
        f"{recorded.rows} samples, {recorded.entries} log entries{place}",
        *(f"results → {file}" for file in written),
        *([f"snapshot → {arguments.snapshot}"] if arguments.snapshot else []),
    ]
    if arguments.json or not arguments.quiet:
        show(arguments, facts, *lines)
    return Exit.DONE if outcome.ok else Exit.EARLY


def _check_files(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` for files that cannot be written: said before a long run, not after it."""
    from dynlib.results.formats import EXPORTERS

    if arguments.out and not arguments.out.endswith(tuple(EXPORTERS)):
        raise ConfigError(f"--out {arguments.out}: the suffix must be one of {', '.join(EXPORTERS)}")
    if arguments.out and not Path(arguments.out).parent.is_dir():
        raise ConfigError(f"--out {arguments.out}: there is no folder {Path(arguments.out).parent}")
    if arguments.snapshot:
        snapshot_target(arguments.snapshot)
    elif arguments.name:
        raise ConfigError("--name needs --snapshot FILE, the snapshot that is to have it")


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
        with _deaf():
            message = f"interrupted; {standing()}"
        raise KeyboardInterrupt(message) from None
    except SystemExit:
        print(f"dynlib: terminated; {standing()}", file=sys.stderr)
        raise


@contextmanager
def _deaf() -> Iterator[None]:
    """A further Ctrl-C changes nothing about what is said of the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
