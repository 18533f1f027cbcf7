"""`dynlib snap …`: list, inspect, check and compare snapshot files, and make others from them.

A run directory stands for its last state.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dynlib.cli.completion import completed, files, models, presets, steppers, values
from dynlib.cli.exits import Exit
from dynlib.cli.facts import lines
from dynlib.cli.parser import Commands, Parser, command, group, number, numbers, pairs
from dynlib.cli.show import Table, show
from dynlib.errors import ConfigError, SnapshotFileError, StoreError

_FILE = "a snapshot file (.npz), or a run directory for its last state"


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    actions = group(commands, "snap", "list, inspect, compare and branch snapshot files")
    p = command(actions, "list", list_all, "list the snapshot files and runs in folders")
    p.add_argument("paths", nargs="*", default=["."], metavar="PATH", help="folders or files (default: this folder)")
    _add_file(command(actions, "info", info, "show name, time, step, pins, lineage"))
    p = command(actions, "verify", verify, "check structure, types and digest; with --model, also that it fits")
    _add_file(p)
    completed(p.add_argument("--model", help="the model it should fit"), models)
    p = command(actions, "diff", diff, "two snapshots side by side")
    _add_file(p, "a")
    _add_file(p, "b")
    p = command(actions, "tree", tree, "how several snapshots came from one another")
    completed(p.add_argument("files", nargs="+", metavar="FILE", help=_FILE), files("npz"))
    p = command(actions, "branch", branch, "another snapshot file, with other values or random numbers")
    _add_file(p, "model")
    completed(p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                             help="set a state or parameter (repeat)"), values)  # fmt: skip
    completed(p.add_argument("--preset", help="apply one of the model's presets first"), presets)
    p.add_argument(
        "--rng", choices=("reseed", "common"), help="of a random model: other numbers, of its own (by the name of the "
        "branch), or the same for all branches made with common (default: those that the file would see)"
    )  # fmt: skip
    _add_target(p, required=True)
    p = command(actions, "adopt", adopt, "take values over, by name, to another model")
    _add_file(p)
    completed(p.add_argument("model", metavar="MODEL", help="the model that takes them over"), models)
    p.add_argument("--rename", action="append", default=[], metavar="OLD=NEW", help="a name there is another here")
    p.add_argument("--fill", action="append", default=[], metavar="NAME=VALUE", help="a value that is not there")
    completed(p.add_argument("--stepper", help="see: dynlib steppers list"), steppers)
    p.add_argument("--dt", type=number, help="step size (first step, if the stepper is adaptive)")
    _add_target(p, required=False)
    p = command(actions, "export", export, "write the results that a snapshot file carries to another file")
    _add_file(p)
    out = p.add_argument("--out", required=True, metavar="FILE", help=".csv, .npz, .nc or .parquet")
    completed(out, files("csv", "npz", "nc", "parquet"))


def _add_file(p: Parser, name: str = "file") -> None:
    completed(p.add_argument(name, metavar="FILE" if len(name) > 1 else name.upper(), help=_FILE), files("npz"))


def _add_target(p: Parser, *, required: bool) -> None:
    more = "" if required else "; without it, nothing is written, only said"
    p.add_argument("--snapshot", required=required, metavar="FILE", help=f"the file to write (.npz){more}")
    p.add_argument("--name", help="name of the snapshot (default: that of the file)")


def list_all(arguments: argparse.Namespace) -> int:
    """List snapshot files and run directories: name, model, stepper, time and step."""
    found, others = [], []
    for path in _candidates(arguments.paths):
        try:
            found.append(_entry(path))
        except (SnapshotFileError, StoreError) as problem:
            others.append({"file": str(path), "reason": str(problem)})
    rows = [(f["file"], f["name"], f["model"], f["stepper"], f["t"], f["step"]) for f in found]
    table = Table(("file", "name", "model", "stepper", "t", "step"), rows, right=(4, 5))
    show(
        arguments,
        {"snapshots": found, "others": others},
        table if rows else f"no snapshot in {', '.join(arguments.paths)}",
        *(f"not a snapshot: {other['reason']}" for other in others),
    )
    return Exit.DONE


def _candidates(paths: Sequence[str]) -> Iterator[Path]:
    """Files as they are given, and what may be a snapshot or a run in folders, by name. Raises `ConfigError`."""
    from dynlib.session.run_directory import MANIFEST

    for path in map(Path, paths):
        if not path.exists():
            raise ConfigError(f"there is no file or folder {path}")
        if not path.is_dir() or (path / MANIFEST).is_file():
            yield path
            continue
        try:
            items = sorted(path.iterdir())
        except OSError as problem:
            raise ConfigError(f"cannot read {path}: {problem.strerror}") from None
        for item in items:
            if item.suffix == ".npz" or (item / MANIFEST).is_file():
                yield item


def _entry(path: Path) -> dict[str, Any]:
    from dynlib.session.snapshot_file import inspect_snapshot
    from dynlib.session.stored_snapshot import file_of

    meta = inspect_snapshot(file_of(path))
    return {
        "file": str(path),
        "name": meta.name,
        "description": meta.description,
        "model": meta.model,
        "stepper": meta.pins.stepper,
        "t": meta.t,
        "step": meta.step,
        "status": meta.status,
        "digest": meta.digest,
    }


def info(arguments: argparse.Namespace) -> int:
    """Show what a snapshot file says of itself."""
    from dynlib.session.lineage import Lineage
    from dynlib.session.snapshot_file import inspect_snapshot
    from dynlib.session.stored_snapshot import file_of

    meta = inspect_snapshot(file_of(arguments.file))
    facts = meta.to_json()
    shown = {name: value for name, value in facts.items() if name != "lineage"}
    show(arguments, facts, lines(shown), str(Lineage(meta.lineage)))
    return Exit.DONE


def verify(arguments: argparse.Namespace) -> int:
    """Check a file; with --model also set the model up and read the state into it. Nothing is run."""
    from dynlib.session.snapshot_file import inspect_snapshot
    from dynlib.session.stored_snapshot import file_of

    file = file_of(arguments.file)
    meta = inspect_snapshot(file)
    if arguments.model:
        from dynlib.session.sim import setup
        from dynlib.spec.observer import Observer

        observers = [Observer(**each) for each in meta.observers]
        sim = setup(arguments.model, stepper=meta.pins.stepper, jit=False, math=meta.pins.math, observers=observers)
        sim.import_snapshot(file)
    facts = {"file": str(file), "whole": True, "model": meta.model, "t": meta.t, "step": meta.step,
             "digest": meta.digest, "fits": arguments.model}  # fmt: skip
    show(
        arguments,
        facts,
        f"whole: {file}, {meta.model!r} at t = {meta.t:g}, step {meta.step}, digest {meta.digest[:16]}",
        *([f"fits: {arguments.model}"] if arguments.model else []),
    )
    return Exit.DONE


def diff(arguments: argparse.Namespace) -> int:
    """Show states, parameters and configuration of two snapshots side by side, and what led to each."""
    from dynlib.session.difference import compare
    from dynlib.session.stored_snapshot import snapshot_in

    found = compare(snapshot_in(arguments.a), snapshot_in(arguments.b))
    show(arguments, found.to_json(), str(found))
    return Exit.DONE


def tree(arguments: argparse.Namespace) -> int:
    """Show the files and all snapshots in their lineages as one tree."""
    from dynlib.session.lineage import deeds_json
    from dynlib.session.stored_snapshot import tree_in

    found = tree_in(arguments.files)
    moments = [
        {"name": b.moment.name, "t": b.moment.t, "step": b.moment.step, "id": b.moment.id, "parent": b.parent,
         "deeds": deeds_json(b.deeds)}
        for b in found.branches
    ]  # fmt: skip
    show(arguments, {"moments": moments}, str(found))
    return Exit.DONE


def branch(arguments: argparse.Namespace) -> int:
    """Write another snapshot at the same time, with some values changed; what led to it is part of its lineage.

    To go on from there: dynlib run FILE --T … (dynlib run takes --set as well).
    """
    from dynlib.session.sim import open_snapshot
    from dynlib.session.stored_snapshot import file_of

    target = snapshot_target(arguments.snapshot)
    given = numbers(arguments.set, "--set")
    if not (given or arguments.preset or arguments.rng):
        raise ConfigError("a branch differs in something: give --set NAME=VALUE, --preset NAME or --rng")
    name = arguments.name or target.stem
    sim = open_snapshot(file_of(arguments.model), jit=False)
    if arguments.rng:
        sim = sim.fork(name, rng=arguments.rng)
    if arguments.preset:
        sim.apply_preset(arguments.preset)
    if given:
        sim.assign(given)
    sim.export_snapshot(target, name=name)
    facts = {"file": str(target), "name": name, "t": sim.t, "step": sim.step, "set": given, "preset": arguments.preset,
             "rng": arguments.rng or "continue"}  # fmt: skip
    done = [str(deed) for deed in sim.lineage().parts[-1][0]]
    show(arguments, facts, f"t = {sim.t:g}, step {sim.step}", *done, f"snapshot → {target}")
    return Exit.DONE


def adopt(arguments: argparse.Namespace) -> int:
    """Take states and parameters over by name to another model, and say what became of each.

    Time and step count come along. The result is the root of a new lineage, which is not exact.
    """
    from dynlib.session.sim import setup
    from dynlib.session.stored_snapshot import file_of

    target = snapshot_target(arguments.snapshot) if arguments.snapshot else None
    rename, fill = pairs(arguments.rename, "--rename", "NAME"), numbers(arguments.fill, "--fill")
    sim = setup(arguments.model, stepper=arguments.stepper, dt=arguments.dt, jit=False)
    report = sim.adopt_snapshot(file_of(arguments.file), rename=rename, fill=fill)
    if target is not None:
        sim.export_snapshot(target, name=arguments.name or target.stem)
    facts = {
        "file": None if target is None else str(target),
        "t": sim.t,
        "step": sim.step,
        "kept": report.kept,
        "renamed": dict(report.renamed),
        "filled": [{"name": name, "value": value, "why": why} for name, value, why in report.filled],
        "dropped": report.dropped,
    }
    show(arguments, facts, str(report), *([] if target is None else [f"snapshot → {target}"]))
    return Exit.DONE


def export(arguments: argparse.Namespace) -> int:
    """Write the results that dynlib run --snapshot FILE --with-results has put into a snapshot file."""
    from dynlib.results.export import export_results
    from dynlib.session.snapshot_file import read_results

    written = [str(file) for file in export_results(read_results(arguments.file), arguments.out)]
    show(arguments, {"file": arguments.file, "files": written}, *written)
    return Exit.DONE


def snapshot_target(path: str) -> Path:
    """A file that a snapshot can be written to. Raises `ConfigError`."""
    target = Path(path)
    if target.suffix != ".npz":
        raise ConfigError(f"--snapshot {path}: the name must end in .npz, by which commands know a snapshot file")
    if not target.parent.is_dir():
        raise ConfigError(f"--snapshot {path}: there is no folder {target.parent}")
    return target
