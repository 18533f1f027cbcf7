"""Results as comma-separated text: one row per sample, numbers written so that they read back to the same bits."""

from __future__ import annotations

import csv
from pathlib import Path

from dynlib.results.view import ResultsView


def export_csv(results: ResultsView, path: Path) -> None:
    """Write time, step and all recorded columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["t", "step", *results.columns])
        for t, step, row in zip(results.t.tolist(), results.step.tolist(), results.raw.data.tolist(), strict=True):
            writer.writerow([repr(t), step, *map(repr, row)])
