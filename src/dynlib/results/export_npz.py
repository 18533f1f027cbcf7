"""Results as a numpy archive: one array per recorded quantity, and one group per event."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynlib.results.view import ResultsView


def export_npz(results: ResultsView, path: Path) -> None:
    """Write `t`, `step`, every quantity by name, and `event/<name>/<label>`."""
    arrays = results.to_dict()
    for name in results.events:
        log = results.event(name)
        arrays |= {f"event/{name}/{label}": log[label] for label in ("t", "step", *log.columns)}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
