"""Results as a numpy archive: one array per recorded quantity, and one group per event."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dynlib.results.recorded import Recorded, free_name, quantities_of
from dynlib.results.results import Array

_EPOCH = (1980, 1, 1, 0, 0, 0)


def export_npz(recorded: Recorded, path: Path) -> None:
    """Write `t`, `step`, every quantity by name, and `event/<name>/<label>`."""
    r = recorded
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "t", np.dtype(np.float64), (r.rows,), (t for t, _, _ in r.clock()))
        step = free_name("step", r.columns)
        _add(archive, step, np.dtype(np.int64), (r.rows,), (step for _, step, _ in r.clock()))
        for name, which in quantities_of(r.columns).items():
            width = () if r.columns[which[0]] == name else (len(which),)
            _add(archive, name, r.dtype, (r.rows, *width), r.values(which))
        counts = [0] * len(r.events)
        for _, _, event, _ in r.log():
            counts = (counts + np.bincount(event, minlength=len(counts))).tolist()
        for k, (name, labels) in enumerate(r.events):
            if labels:
                here = (counts[k],)
                own = [label for label in ("t", "step") if label not in labels]
                for label in own:
                    kind = np.dtype(np.float64 if label == "t" else np.int64)
                    _add(archive, f"event/{name}/{label}", kind, here, _entries(r, k, ("t", "step").index(label)))
                for j, label in enumerate(labels):
                    _add(archive, f"event/{name}/{label}", r.dtype, here, _entries(r, k, 3, j))


def _entries(recorded: Recorded, event: int, part: int, label: int | None = None) -> Iterator[Array]:
    """One column of the log entries of one event."""
    for block in recorded.log():
        column = block[part] if label is None else block[part][:, label]
        yield column[block[2] == event]


def _add(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[Array]
) -> None:
    """One array, written block by block."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w", force_zip64=True) as file:
        head = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
