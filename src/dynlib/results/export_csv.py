"""Results as comma-separated text: one row per sample, numbers as short as they read back to the same bits."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from dynlib.results.recorded import Recorded, free_name
from dynlib.results.results import Array


def export_csv(recorded: Recorded, path: Path) -> None:
    """Write time, step and all recorded columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["t", free_name("step", recorded.columns), *recorded.columns])
        every = range(len(recorded.columns))
        for (t, step, _), data in zip(recorded.clock(), recorded.values(every), strict=True):
            writer.writerows(zip(t.tolist(), step.tolist(), *map(_numbers, data.T), strict=True))


def export_csv_log(recorded: Recorded, path: Path) -> None:
    """Write the event log: time, step, event, and one column per event and label, empty for other events."""
    places = [(k, j) for k, (_, labels) in enumerate(recorded.events) for j in range(len(labels))]
    heads = [f"{name}.{label}" for name, labels in recorded.events for label in labels]
    names = [name for name, _ in recorded.events]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["t", "step", "event", *heads])
        for t, step, event, values in recorded.log():
            cells = [_numbers(column) for column in values.T]
            for row, (now, count, which) in enumerate(zip(t.tolist(), step.tolist(), event.tolist(), strict=True)):
                logged = [cells[j][row] if k == which else "" for k, j in places]
                writer.writerow([now, count, names[which], *logged])


def _numbers(column: Array) -> list[Any]:
    """Numbers whose text is the shortest that reads back to the same bits of their own type."""
    return column.tolist() if column.dtype.itemsize == 8 else list(column)
