"""What a run directory holds, in short: what the manifest says, how far the run is, who uses it, and its sizes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dynlib.errors import StoreError
from dynlib.session.lock import holder_of
from dynlib.session.open_run import StoredRun, open_run


def describe_run(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Facts about a run directory, also while a run goes on in it, as strict JSON takes them. Raises `StoreError`."""
    run = open_run(path)
    recorded = run.recorded()
    checkpoints = [found for file in run.directory.saved() if (found := _checkpoint(run, file)) is not None]
    whole = [c for c in checkpoints if c["damage"] is None]
    furthest = max(whole, key=lambda c: (c["step"], c["t"]), default=None)
    manifest = {k: v for k, v in run.manifest.items() if k not in ("format", "format_version", "digest")}
    return {
        "folder": str(run.path),
        **manifest,
        "status": run.status,
        "ended": furthest is not None and furthest["file"] == "end.npz",
        "t": None if furthest is None else furthest["t"],
        "step": None if furthest is None else furthest["step"],
        "samples": recorded.rows,
        "log_entries": recorded.entries,
        "segments": [
            {
                "name": s.name,
                "t_start": s.t_start,
                "t_end": s.t_end,
                "status": s.status,
                "samples": s.rows[1] - s.rows[0],
            }
            for s in recorded.segments
        ],
        "checkpoints": checkpoints,
        "in_use": holder_of(run.path),
        "bytes": {
            **{table.folder.name: _bytes(table.folder) for table in run.store.tables},
            "total": _bytes(run.path),
        },
    }


def _checkpoint(run: StoredRun, file: Path) -> dict[str, Any] | None:
    """What a file of a state says; None if a run that goes on has removed it meanwhile."""
    facts: dict[str, Any] = {"file": file.name, "t": None, "step": None, "samples": None, "damage": None}
    try:
        found = run.directory.read(file)
    except StoreError as problem:
        return facts | {"damage": str(problem)} if os.path.lexists(file) else None
    return facts | {"t": found.meta.t, "step": found.meta.step, "samples": found.position.rows}


def _bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except FileNotFoundError:
                continue  # a run that goes on replaces its files
    return total
