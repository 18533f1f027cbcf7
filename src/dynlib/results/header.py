"""What a file of results says about its content: enough to make the same results of it, and to see that it is whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from google_crc32c import extend
from msgspec import Struct

from dynlib.results.recorded import InMemory, Recorded, names_of
from dynlib.results.results import Array, EventLog, Results, Segment
from dynlib.status import Status
from dynlib.version import VERSION

MARK = "dynlib_results"
"""The name of the header in a file."""
VERSION_OF_HEADER = 1
MOST_TEXT = 64 * 2**20
_NAME = re.compile(r"[A-Za-z_]\w*(?:\[\d+\])?\Z", re.ASCII)
_MOST = 2**53


class Logged(Struct, frozen=True, forbid_unknown_fields=True):
    """An event: its name, the labels of what it logs, its tags."""

    name: str
    labels: tuple[str, ...]
    tags: tuple[str, ...]


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a file; `checks` are CRC-32C of times, steps, values and log."""

    version: int
    source: str
    model: str
    columns: tuple[str, ...]
    dtype: Literal["float64", "float32"]
    rows: int
    entries: int
    segments: tuple[Segment, ...]
    events: tuple[Logged, ...]
    checks: dict[str, int]

    @property
    def depth(self) -> int:
        """The most values of one log entry."""
        return max((len(event.labels) for event in self.events), default=0)

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        width = np.dtype(self.dtype).itemsize
        return self.rows * (17 + width * len(self.columns)) + self.entries * (20 + width * self.depth)


def header_text(recorded: Recorded) -> str:
    """The header for a recording, which is read once to the end for it."""
    events = tuple(
        Logged(name, labels, tags) for (name, labels), tags in zip(recorded.events, recorded.tags, strict=True)
    )
    content = Header(
        VERSION_OF_HEADER, f"dynlib {VERSION}", recorded.model_name, recorded.columns, recorded.dtype.name,  # type: ignore[arg-type]
        recorded.rows, recorded.entries, recorded.segments, events, _checks(recorded),
    )  # fmt: skip
    text = msgspec.json.encode(content)
    return f"{extend(0, text):08x}{text.decode()}"


def header_of(text: bytes, most_bytes: int) -> Header:
    """The header in a file, every value checked. Raises `ValueError`."""
    if len(text) > MOST_TEXT:
        raise ValueError("its header is too large")
    if text[:8] != b"%08x" % extend(0, text[8:]):
        raise ValueError("its header is damaged")
    try:
        found = msgspec.json.decode(text[8:], type=Header)
    except (msgspec.MsgspecError, RecursionError) as problem:
        raise ValueError(f"its header is malformed: {problem}") from None
    if found.version != VERSION_OF_HEADER:
        raise ValueError(f"it is of version {found.version}; this library reads version {VERSION_OF_HEADER}")
    if not (0 <= found.rows <= _MOST and 0 <= found.entries <= _MOST):
        raise ValueError("its header holds an impossible count")
    names = [*found.columns, *(n for e in found.events for n in (e.name, *e.labels))]
    doubled = any(len(set(group)) < len(group) for group in (found.columns, [e.name for e in found.events],
                                                            *(e.labels for e in found.events)))  # fmt: skip
    if doubled or not all(len(name) <= 200 and _NAME.match(name) for name in names):
        raise ValueError("its header holds an impossible name")
    for s in found.segments:
        spans = all(0 <= a <= b <= n for (a, b), n in ((s.rows, found.rows), (s.entries, found.entries)))
        if not spans or s.status not in Status.__members__ or not 0 <= s.step_start <= _MOST or s.step_end > _MOST:
            raise ValueError("its segments are malformed")
    if found.size > most_bytes:
        raise ValueError(f"it takes {found.size} bytes of memory; most_bytes={found.size} would allow that")
    return found


def results_in(header: Header, arrays: Mapping[str, Array]) -> Results:
    """The results that a header and arrays (by the names of `arrays_for`) make together. Raises `ValueError`."""
    event = arrays["log_event"]
    if header.entries and not 0 <= event.min() <= event.max() < len(header.events):
        raise ValueError("it logs events that it does not name")
    for k, each in enumerate(header.events):
        arrays["log_values"][event == k, len(each.labels) :] = np.nan  # no checksum covers them
    log = EventLog(
        tuple(e.name for e in header.events), tuple(e.labels for e in header.events),
        tuple(e.tags for e in header.events), arrays["log_t"], arrays["log_step"], event, arrays["log_values"],
    )  # fmt: skip
    clock = arrays["t"], arrays["step"], arrays["at_stop"]
    found = Results(header.columns, *clock, arrays["data"], header.segments, log, header.model)
    wrong = [name for name, value in _checks(InMemory(found)).items() if header.checks.get(name) != value]
    if wrong:
        raise ValueError(f"it is damaged, or of two files that do not belong together (in {', '.join(wrong)})")
    return found


def arrays_for(header: Header) -> dict[str, Array]:
    """Room for what a file holds; logged values begin as NaN, which is what an event that logs fewer leaves."""
    n, m = header.rows, header.entries
    return {
        "t": np.zeros(n), "step": np.zeros(n, np.int64), "at_stop": np.zeros(n, bool),
        "data": np.zeros((n, len(header.columns)), header.dtype),
        "log_t": np.zeros(m), "log_step": np.zeros(m, np.int64), "log_event": np.zeros(m, np.int32),
        "log_values": np.full((m, header.depth), np.nan, header.dtype),
    }  # fmt: skip


def arrays_in(header: Header, read: Callable[[str, np.dtype[Any], tuple[int, ...]], Array]) -> dict[str, Array]:
    """The arrays of a file in which things have the names of `names_of`; `read` gives one by name, type and shape."""
    arrays, n, names = arrays_for(header), header.rows, names_of(header.columns)
    for name, member in (("t", "t"), ("step", names.step), ("at_stop", names.at_stop)):
        arrays[name] = read(member, arrays[name].dtype, (n,))
    for each in names.variables:
        shape = (n,) if each.elements is None else (n, len(each.which))
        arrays["data"][:, each.which] = read(each.name, arrays["data"].dtype, shape).reshape(n, len(each.which))
    for name in ("t", "step", "event", "values") if header.depth else ():
        room = arrays[f"log_{name}"]
        arrays[f"log_{name}"] = read(f"{names.events}/{name}", room.dtype, room.shape)
    return arrays


def taken(array: Array, dtype: object, shape: tuple[int, ...]) -> Array:
    """An array from a file, if it has the type and shape that the header says. Raises `ValueError`."""
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype) or array.shape != shape:  # type: ignore[call-overload]
        raise ValueError("it holds an array of another type or shape than its header says")
    return array


def _checks(recorded: Recorded) -> dict[str, int]:
    """CRC-32C of the numbers; of a log entry, those values count that its event logs."""
    found = dict.fromkeys(("t", "step", "at_stop", "data", "log_t", "log_step", "log_event", "log_values"), 0)

    def add(names: tuple[str, ...], block: tuple[Array, ...]) -> None:
        for name, part in zip(names, block, strict=True):
            found[name] = extend(found[name], np.ascontiguousarray(part, part.dtype.newbyteorder("<")).tobytes())

    for block in recorded.clock():
        add(("t", "step", "at_stop"), tuple(block))
    for values in recorded.values(range(len(recorded.columns))):
        add(("data",), (values,))
    for t, step, event, values in recorded.log():
        logged = np.array([len(labels) for _, labels in recorded.events])[event]
        add(("log_t", "log_step", "log_event"), (t, step, event))
        add(("log_values",), (values[np.arange(values.shape[1]) < logged[:, None]],))
    return found
