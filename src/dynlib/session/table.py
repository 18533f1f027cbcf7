"""A table on disk: arrays that grow together along one dimension, as a Zarr v3 group of checksummed chunks.

Zarr and xarray open it without this library. Each chunk is the plain little-endian numbers followed by their CRC-32C,
so equal rows give equal bytes whatever wrote them; files are replaced, never changed in place. What counts is the
metadata of the group, which carries that of all arrays: its one file says how many rows there are, and replacing it
publishes the rows of all arrays at once. Nothing in a table is interpreted when it is read: metadata must be what would
be written.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c
from msgspec import Struct

from dynlib.errors import StoreError
from dynlib.runtime.state import Array
from dynlib.session.archive import json_bytes
from dynlib.session.durable import Disk, missing_folders, read_file, write_file

CHUNK_BYTES = 4 * 2**20
MAX_META = 64 * 2**20
_TYPES = {"float64": 0.0, "float32": 0.0, "int64": 0, "int32": 0, "bool": False}
"""Types that a column may have, with the value that fills the unused end of the last chunk."""


class Column(Struct, frozen=True):
    """One array: name, type, length of its second dimension (None if it has one only), and its attributes."""

    name: str
    dtype: str
    width: int | None = None
    attributes: tuple[tuple[str, Any], ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return np.dtype(self.dtype).itemsize * (1 if self.width is None else self.width)


class Table:
    """Rows taken so far, on disk and in memory. Complete chunks are written by `flush`, the rest by `publish`."""

    def __init__(self, folder: Path, dimension: str, columns: Sequence[Column], most_rows: int, disk: Disk) -> None:
        self.folder, self.dimension, self.columns = folder, dimension, tuple(columns)
        self.chunk_rows = max(1, min(most_rows, CHUNK_BYTES // sum(c.row_bytes for c in columns)))
        self.rows = 0
        self._disk = disk
        self._flushed = 0  # rows in complete chunks on disk
        self._pending: list[tuple[Array, ...]] = []
        self._changed: set[Path] = set()

    # -- writing -----------------------------------------------------------------------------------------------

    def take(self, rows: Sequence[Array]) -> None:
        """Take over copies of rows, one array per column."""
        block = tuple(np.array(part, dtype=c.dtype) for part, c in zip(rows, self.columns, strict=True))
        if len(block[0]):
            self._pending.append(block)
            self.rows += len(block[0])

    def flush(self) -> None:
        """Write all complete chunks. Raises `StoreError`; what could not be written stays in memory."""
        while self.rows - self._flushed >= self.chunk_rows:
            self._join()
            part = tuple(a[: self.chunk_rows] for a in self._pending[0])
            self._write_chunks(self._flushed // self.chunk_rows, part)
            self._flushed += self.chunk_rows
            self._pending = [tuple(a[self.chunk_rows :] for a in self._pending[0])]

    def publish(self, attributes: Mapping[str, Any]) -> None:
        """Make all rows durable and visible, the incomplete last chunk among them. Raises `StoreError`."""
        self.flush()
        if self.rows > self._flushed:
            self._join()
            self._write_chunks(self._flushed // self.chunk_rows, self._pending[0])
        self._settle()
        documents = self._documents(self.rows)
        for name, document in documents.items():
            self._write(self.folder / name / "zarr.json", json_bytes(document))
        self._settle()
        self._write(self.folder / "zarr.json", json_bytes(self._root(documents, attributes)))
        self._settle()

    def rewind(self, rows: int) -> None:
        """Go back to a number of rows that was published once. Raises `StoreError` if they are not whole."""
        first = rows - rows % self.chunk_rows
        tail = self.read(first, rows) if rows > first else None
        self.rows, self._flushed = rows, first
        self._pending = [] if tail is None else [tail]

    def _join(self) -> None:
        if len(self._pending) > 1:
            self._pending = [tuple(np.concatenate(parts) for parts in zip(*self._pending, strict=True))]

    def _write_chunks(self, index: int, rows: tuple[Array, ...]) -> None:
        for column, part in zip(self.columns, rows, strict=True):
            whole = np.full((self.chunk_rows, *part.shape[1:]), _TYPES[column.dtype], part.dtype)
            whole[: len(part)] = part
            data = whole.astype(whole.dtype.newbyteorder("<"), copy=False).tobytes()
            self._write(self._chunk(column, index), data + crc32c(data).to_bytes(4, "little"))

    def _write(self, path: Path, data: bytes) -> None:
        try:
            for new in missing_folders(path.parent):
                self._disk.mkdir(new)
                self._changed.add(new.parent)
            write_file(path, data, self._disk, settle=False)
        except OSError as problem:
            raise cannot_write(path, problem) from problem
        self._changed.add(path.parent)

    def _settle(self) -> None:
        """Make the names of all new files durable."""
        for folder in sorted(self._changed):
            try:
                self._disk.fsync_folder(folder)
            except OSError as problem:
                raise cannot_write(folder, problem) from problem
        self._changed.clear()

    # -- what is written ---------------------------------------------------------------------------------------

    def _chunk(self, column: Column, index: int) -> Path:
        key = f"{index}" if column.width is None else f"{index}/0"
        return self.folder / column.name / "c" / key

    def _documents(self, rows: int) -> dict[str, Any]:
        found = {}
        for c in self.columns:
            second = [] if c.width is None else [c.width]
            found[c.name] = {
                "zarr_format": 3,
                "node_type": "array",
                "shape": [rows, *second],
                "data_type": c.dtype,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [self.chunk_rows, *second]}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": _TYPES[c.dtype],
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                "attributes": dict(c.attributes),
                "dimension_names": [self.dimension, *([] if c.width is None else [f"{c.name}_index"])],
                "storage_transformers": [],
            }
        return found

    @staticmethod
    def _root(documents: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
        inline = {"kind": "inline", "must_understand": False, "metadata": dict(documents)}
        return {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": dict(attributes),
            "consolidated_metadata": inline,
        }

    # -- reading -----------------------------------------------------------------------------------------------

    def published(self) -> tuple[int, dict[str, Any]]:
        """Number of published rows and the attributes beside them. Raises `StoreError`."""
        path = self.folder / "zarr.json"
        try:
            root = json.loads(read_stored(path, MAX_META))
            rows = root["consolidated_metadata"]["metadata"][self.columns[0].name]["shape"][0]
            attributes = root["attributes"]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            raise StoreError(f"{path} is damaged: it is not the metadata of a table") from None
        if type(rows) is not int or not 0 <= rows < 2**53 or not isinstance(attributes, dict):
            raise StoreError(f"{path} is damaged: it is not the metadata of a table")
        if root != self._root(self._documents(rows), attributes):
            raise StoreError(f"{path} is damaged or of another run: it describes other arrays than this run has")
        return rows, attributes

    def read(self, first: int, last: int) -> tuple[Array, ...]:
        """Rows from `first` to before `last`. Raises `StoreError` naming the first chunk that is not whole."""
        parts = list(self.blocks(first, last))
        if not parts:
            return tuple(np.empty((0, *([] if c.width is None else [c.width])), c.dtype) for c in self.columns)
        return parts[0] if len(parts) == 1 else tuple(np.concatenate(p) for p in zip(*parts, strict=True))

    def blocks(self, first: int, last: int, which: Sequence[int] | None = None) -> Iterator[tuple[Array, ...]]:
        """The same rows, a chunk at a time; with `which` of some columns only, by position."""
        size = self.chunk_rows
        chosen = self.columns if which is None else [self.columns[k] for k in which]
        for index in range(first // size, -(-last // size)):
            a, b = max(first - index * size, 0), min(last - index * size, size)
            yield tuple(self._read_chunk(column, index)[a:b] for column in chosen)

    def chunks(self, rows: int) -> int:
        """How many chunks hold so many rows."""
        return -(-rows // self.chunk_rows)

    def chunk_files(self, index: int) -> list[Path]:
        """The files of one chunk, one per array."""
        return [self._chunk(column, index) for column in self.columns]

    def meta_files(self) -> list[Path]:
        """The files that describe the table and its arrays."""
        return [self.folder / "zarr.json", *(self.folder / c.name / "zarr.json" for c in self.columns)]

    def damage(self, rows: int) -> Iterator[StoreError]:
        """What is wrong with the arrays of so many published rows: each chunk is read, and what describes the array.

        An array may be described as longer than that by a process that was killed while it published.
        """
        for column in self.columns:
            path = self.folder / column.name / "zarr.json"
            try:
                document = json.loads(read_stored(path, MAX_META))
                longer = document["shape"][0]
                if type(longer) is not int or longer < rows or document != self._documents(longer)[column.name]:
                    raise StoreError(f"{path} is damaged: it does not describe the array of this run")
            except StoreError as problem:
                yield problem
            except (ValueError, KeyError, TypeError, IndexError, RecursionError):
                yield StoreError(f"{path} is damaged: it does not describe an array")
            for index in range(self.chunks(rows)):
                try:
                    self._read_chunk(column, index)
                except StoreError as problem:
                    yield problem

    def _read_chunk(self, column: Column, index: int) -> Array:
        path = self._chunk(column, index)
        size = self.chunk_rows * column.row_bytes
        data = read_stored(path, size + 4)
        body = data[:size]
        if len(data) != size + 4 or crc32c(body) != int.from_bytes(data[size:], "little"):
            raise StoreError(f"{path} is damaged: its length or its checksum is wrong")
        shape = (self.chunk_rows, *([] if column.width is None else [column.width]))
        dtype = np.dtype(column.dtype).newbyteorder("<")
        if column.dtype == "bool" and max(body, default=0) > 1:
            raise StoreError(f"{path} is damaged: it holds a truth value that is none")
        return np.frombuffer(body, dtype).astype(column.dtype, copy=False).reshape(shape)


def read_stored(path: Path, limit: int) -> bytes:
    """The content of a file of a run directory. Raises `StoreError`."""
    try:
        return read_file(path, limit)
    except OSError as problem:
        why = "it is a symbolic link" if problem.errno == errno.ELOOP else problem.strerror
        raise StoreError(f"cannot read {path}: {why}") from None


def cannot_write(path: Path, problem: OSError) -> StoreError:
    """The error of a disk that takes no more, with what it means for the run."""
    return StoreError(
        f"cannot write {path}: {problem.strerror}. The last checkpoint is whole: when there is room, go on with the "
        "same command or resume_or_start()"
    )
