"""Hostile snapshot files, made by the thousand: `PYTHONPATH=src python tests/fuzz/snapshots.py --inputs 100000`.

Each input is refused by `SnapshotFileError` (or `PinMismatchError` if its pins are other ones) and leaves the session
as it was to the last bit; or it is taken, and then the session holds just what the digest of the file covers, can run,
and can be written again. Time and memory are bounded. Anything else is a failure. Input K of seed S is always the same.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import itertools
import json
import math
import random
import resource
import struct
import sys
import tempfile
import time
import tracemalloc
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from msgspec.structs import replace
from session.format_reader import read
from session.golden.make import CASES
from session.kit import deadline, forged, json_bytes, members_of, npy, npy_header, parts, standing, zipped

import dynlib
from dynlib import FullModel, PinMismatchError, Sim, SnapshotFileError
from dynlib.runtime.state import SessionState
from dynlib.session.lineage import digest_of as state_digest_of
from dynlib.session.snapshot_file import member_of, write_snapshot
from dynlib.session.stored_results import StorePosition

SECONDS = 5.0
Meta = dict[str, Any]
Arrays = dict[str, np.ndarray]


class Broken(AssertionError):
    """An input that breaks the contract."""


# -- sound files to begin with ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sound:
    """A sound file, taken apart, and what it belongs to."""

    name: str
    full: FullModel
    data: bytes
    meta: Meta
    arrays: Arrays
    state: SessionState

    def copy(self) -> tuple[Meta, Arrays]:
        return copy.deepcopy(self.meta), {n: a.copy() for n, a in self.arrays.items()}


WALK = '''inline:
[model]
type = "map"
name = "walk"
[states]
x = 0.0
"z[2]" = 1.0
[params]
s = 0.5
[equations]
expr = """
x = x + s*randn()
z[i] = 0.5*z[i] + x
"""
'''


@cache
def sound_files() -> tuple[Sound, ...]:
    """Small files of every version, with all that a file may carry."""
    golden = Path(__file__).parents[1] / "session" / "golden"
    files = [(f"{p.parent.name}/{p.stem}", p.read_bytes()) for p in sorted(golden.glob("version-*/*.npz"))]
    fulls = {case: dynlib.build(model, stepper=stepper, jit=False) for case, (model, stepper, _, _) in CASES.items()}
    fulls |= {"recorded": fulls["neuron"], "checkpoint": fulls["neuron"], "first": fulls["map"]}
    fulls["walk"] = dynlib.build(WALK, jit=False, observers=[dynlib.running_mean("x"), dynlib.extrema("x")])
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        sim = Sim(fulls["walk"])
        sim.run(N=9, seed=5, tag="ü")
        sim.create_snapshot("half")
        sim.assign({"s": 0.25})
        sim.run(N=9, resume=True)
        raw = sim.raw_results()
        position = StorePosition(len(raw.t), len(raw.log.t), None, raw.columns, raw.segments)
        observers = [o.observer.as_document() for o in fulls["walk"].observers]
        now = sim._current("now")
        write_snapshot(path, now, created="", jit=False, observers=observers, results=raw, store=position)
        files.append(("new/walk", path.read_bytes()))
        for name, data in files:
            path.write_bytes(data)
            full = fulls[name.split("/")[1]]
            sim = Sim(full)
            sim.import_snapshot(path)
            meta, arrays = parts(path)
            found.append(Sound(name, full, data, meta, arrays, sim.state))
    return tuple(found)


def smallest() -> Sound:
    return min((s for s in sound_files() if s.meta["schema_version"] == 3), key=lambda s: len(s.data))


# -- inputs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """One file to try: `signed` if its digest was made to fit, `heavy` if its memory is to be measured."""

    kind: str
    sound: Sound
    data: bytes
    signed: bool = False
    heavy: bool = False


def flips(sound: Sound) -> Iterator[Input]:
    """Every single bit."""
    for k in range(8 * len(sound.data)):
        data = bytearray(sound.data)
        data[k // 8] ^= 1 << k % 8
        yield Input("every bit", sound, bytes(data))


def cuts(sound: Sound) -> Iterator[Input]:
    """Every length."""
    for k in range(len(sound.data)):
        yield Input("every length", sound, sound.data[:k])


KINDS = (None, True, 1, -1, 10**400, 0.5, "x", [], {})


def kinds(sound: Sound) -> Iterator[Input]:
    """Every value of the metadata by one of every kind, and every key gone; with a digest that is right."""
    count = sum(1 for _ in spots(sound.meta))
    for number in range(count):
        for value in (*KINDS, "gone"):
            meta, arrays = sound.copy()
            where, key = next(itertools.islice(spots(meta), number, None))
            if value == "gone":
                del where[key]
            else:
                where[key] = value
            yield Input("every kind", sound, forged(meta, arrays), signed=True)


Make = Callable[[random.Random, Sound], Input]
MAKERS: list[Make] = []


def maker(make: Make) -> Make:
    MAKERS.append(make)
    return make


def random_input(seed: int, index: int) -> Input:
    """Input number `index`."""
    rng = random.Random(f"{seed} {index}")
    make = MAKERS[index % len(MAKERS)]
    return make(rng, rng.choice(sound_files()))


def inputs(seed: int, count: int) -> Iterator[Input]:
    """All damage to a small file if there is room for it, and after it made-up files."""
    small, done = smallest(), 0
    if count > 10 * len(small.data):
        for given in itertools.chain(flips(small), cuts(small), kinds(small)):
            yield given
            done += 1
    for index in range(count - done):
        yield random_input(seed, index)


@maker
def bytes_changed(rng: random.Random, sound: Sound) -> Input:
    data = bytearray(sound.data)
    at, size = rng.randrange(len(data)), rng.choice((1, 1, 2, 4, 16, 512))
    other = rng.choice(sound_files()).data
    word = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size), struct.pack("<I", rng.choice(EDGES) % 2**32)))
    match rng.randrange(8):
        case 0:
            for _ in range(rng.randint(1, 5)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            data[at:at] = word
        case 2:
            del data[at : at + size]
        case 3:
            data[at : at + len(word)] = word
        case 4:
            data[at:at] = data[at : at + size]
        case 5:
            to = rng.randrange(len(data))
            data[at : at + size], data[to : to + size] = data[to : to + size], data[at : at + size]
        case 6:
            data = bytearray(data[:at] + other[rng.randrange(len(other)) :])
        case _:
            data = bytearray(rng.choice((data + word, word + data, data + other, data + data)))
    return Input("bytes", sound, bytes(data))


@maker
def record_changed(rng: random.Random, sound: Sound) -> Input:
    """A number in a record of the zip, in one or both places."""
    data = bytearray(sound.data)
    marks = [k for mark in (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06") for k in places(sound.data, mark)]
    for _ in range(rng.randint(1, 2)):
        at, size = rng.choice(marks) + rng.randrange(46), rng.choice((1, 2, 4))
        value = rng.choice((*EDGES, len(data), len(data) - 1)) % 256**size
        data[at : at + size] = value.to_bytes(size, "little")
    return Input("zip records", sound, bytes(data[: len(sound.data)]))


def places(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


ODD_NAMES = (
    "../y.npy", "/y.npy", "y.npy/", "workspace/", "Y.npy", "y", "meta.json ", "META.JSON", "./y.npy", "y.npy\n",
    "workspace/runtime/../../y.npy", "workspace/runtime/é.npy", "workspace/runtime/x.npy.npy", "results/\x00.npy",
    "C:\\y.npy", "workspace/runtime/" + "x" * 60_000 + ".npy", "results/extra.npy", "workspace/stepper/f9.npy", "",
)  # fmt: skip


@maker
def members_changed(rng: random.Random, sound: Sound) -> Input:
    """Members in another order, twice, gone, renamed, compressed, with all that a zip may have besides."""
    pairs = list(members_of(*sound.copy()).items())
    kind, at = rng.randrange(12), rng.randrange(len(pairs))
    name, body = pairs[at]
    stream, compression, comment, heavy = io.BytesIO(), zipfile.ZIP_STORED, b"", False
    extra, flags, date, prefix, zip64 = b"", 0, (1980, 1, 1, 0, 0, 0), b"", False
    match kind:
        case 0:
            rng.shuffle(pairs)
        case 1:
            pairs.insert(rng.randrange(len(pairs) + 1), (name, rng.choice((body, b"", rng.choice(pairs)[1]))))
        case 2:
            del pairs[at]
        case 3:
            pairs[at] = (rng.choice(ODD_NAMES), body)
        case 4:
            pairs.insert(rng.randrange(len(pairs) + 1), (rng.choice(ODD_NAMES), rng.choice((body, b"", b"x" * 99))))
        case 5:
            compression = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        case 6:
            compression, heavy = zipfile.ZIP_DEFLATED, True
            pairs[at] = (name, rng.choice((bytes(5 * 2**20), b" " * 5 * 2**20, b"[" * 5 * 2**20)))
        case 7:
            comment = rng.randbytes(rng.choice((1, 20, 65_535)))
        case 8:
            extra = b"\x99\x99\x04\x00abcd"
        case 9:
            date = (rng.randint(1980, 2100), 2, 3, 4, 5, 6)
        case 10:
            prefix = rng.choice((b"PK\x03\x04" + bytes(26), b"#!/bin/sh\n", b"PK\x03\x04"))
        case _:
            zip64 = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream.write(prefix)
        with zipfile.ZipFile(stream, "a" if prefix else "w", compression) as archive:
            archive.comment = comment
            for each, data in pairs:
                info = zipfile.ZipInfo(each or "x", date)
                info.create_system, info.external_attr, info.extra, info.flag_bits = 3, 0o644 << 16, extra, flags
                info.compress_type = compression
                if zip64:
                    with archive.open(info, "w", force_zip64=True) as target:
                        target.write(data)
                else:
                    archive.writestr(info, data, compression)
    return Input("members", sound, stream.getvalue(), signed=True, heavy=heavy)


EDGES = (
    0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**53 + 1,
    2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
)  # fmt: skip
NUMBERS = (
    *EDGES, *(-n for n in EDGES), 10**30, -(10**30), 10**308, 2**1024 - 1, 18 * 10**307, 10**400, 0.5, -0.0, 0.1, -0.1,
    1e-300, 5e-324, 1.7e308, -1.7e308, math.nan, math.inf, -math.inf,
)  # fmt: skip
TEXTS = (
    "", "x", "inf", "-inf", "nan", "1", "0.5", "NaN", "DONE", "current", "y", "rk4", "float32", "edit", "run", "record",
    "\x00", "\ud800", "ü☃\U0001f600", "a" * 5000, "../../etc", "0" * 64, "f" * 63, "v", "x[0]", "x[99]", "None", "{}",
)  # fmt: skip


def any_value(rng: random.Random, depth: int = 0) -> Any:
    match rng.randrange(8 if depth < 3 else 6):
        case 0:
            return rng.choice((None, True, False))
        case 1 | 2:
            return rng.choice(NUMBERS)
        case 3:
            return rng.choice((rng.random(), rng.randint(-10, 10), rng.gauss(0.0, 1e10)))
        case 4 | 5:
            return rng.choice(TEXTS)
        case 6:
            return [any_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
        case _:
            return {rng.choice(TEXTS): any_value(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def spots(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON value: container and key."""
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from spots(content[key])


def change_somewhere(rng: random.Random, content: Meta, within: str | None = None) -> None:
    """One change at a random place, all levels alike."""
    start = content[within] if within is not None and content.get(within) else content
    every = [(c, k) for c, k in spots(start) if c is not content or k not in ("digest", "arrays")]
    if not every:
        return
    if rng.random() < 0.3:  # the few upper levels as often as the many lower ones
        every = [(start, k) for k in start if k not in ("digest", "arrays")] if isinstance(start, dict) else every
    where, key = rng.choice(every)
    match rng.randrange(9):
        case 0 | 1 | 2:
            where[key] = any_value(rng)
        case 3:
            value = where[key]
            where[key] = rng.choice(NUMBERS) if isinstance(value, int | float) else any_value(rng)
        case 4:
            del where[key]
        case 5 if isinstance(where, dict):
            where[rng.choice(TEXTS)] = any_value(rng)
        case 6 if isinstance(where, list):
            where.insert(rng.randint(0, len(where)), copy.deepcopy(rng.choice((where[key], any_value(rng)))))
        case 7:
            other, at = rng.choice(every)
            where[key] = copy.deepcopy(other[at])
        case _:
            where[key] = rng.choice(([where[key]], {"x": where[key]}, str(where[key]), None))


@maker
def meta_changed(rng: random.Random, sound: Sound) -> Input:
    """Any value of the metadata, with a digest that is right."""
    meta, arrays = sound.copy()
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        change_somewhere(rng, meta)
    return Input("metadata", sound, forged(meta, arrays), signed=True)


@maker
def part_changed(rng: random.Random, sound: Sound) -> Input:
    """The same, in one part of the metadata."""
    meta, arrays = sound.copy()
    part = rng.choice(("pins", "lineage", "document", "observers", "results", "store", "stepper_config", "environment"))
    for _ in range(rng.choice((1, 1, 2))):
        change_somewhere(rng, meta, part if isinstance(meta.get(part), dict | list) else None)
    return Input(part, sound, forged(meta, arrays), signed=True)


def change_array(rng: random.Random, arrays: Arrays) -> None:
    if not arrays:
        return
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    match rng.randrange(10):
        case 0 | 1 | 2 | 3 | 4 if array.size and array.dtype.str in ("<f8", "<f4", "<i8"):
            reals = [n for n in NUMBERS if isinstance(n, float) or abs(n) < 2**1000]
            counts = [n for n in NUMBERS if isinstance(n, int) and -(2**63) <= n < 2**63]
            with np.errstate(all="ignore"):
                array[rng.randrange(array.size)] = rng.choice(reals if array.dtype.kind == "f" else counts)
        case 5:
            arrays[name] = np.resize(array, rng.choice((0, 1, 2, 3, array.size + 1, 1000)))
        case 6:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                arrays[name] = array.astype(rng.choice(("<f8", "<f4", "<i8", "<i4", ">f8", "<u8", "<f2", "<c16", "?")))
        case 7:
            del arrays[name]
        case 8:
            arrays[rng.choice(("extra", "workspace/runtime/x", "workspace/stepper/f1", "results/t", "y"))] = array
        case _:
            arrays[name] = arrays[rng.choice(sorted(arrays))]


@maker
def arrays_changed(rng: random.Random, sound: Sound) -> Input:
    meta, arrays = sound.copy()
    for _ in range(rng.choice((1, 1, 2, 4))):
        change_array(rng, arrays)
    return Input("arrays", sound, forged(meta, arrays), signed=True)


@maker
def npy_changed(rng: random.Random, sound: Sound) -> Input:
    """An array member of another make: headers of all kinds, other lengths, objects."""
    members = members_of(*sound.copy())
    name = rng.choice([n for n in members if n != "meta.json"])
    body, tail = members[name][:128], members[name][128:]
    shape = rng.choice(
        ("(1000000000000000,)", f"({2**70},)", "(-1,)", "(1,1)", "()", "5", "(5L,)", "(1,), (2,)", "None")
    )
    kind = rng.choice(("'<f8'", "'>f8'", "'|O'", "'<U9'", "'<f8,<f8'", "[('a', '<f8')]", "'|V0'", "5", "f8", "''"))
    head = f"{{'descr': {kind}, 'fortran_order': {rng.choice((True, False, 1))}, 'shape': {shape}, }}"
    match rng.randrange(6):
        case 0:
            members[name] = npy_header(head, tail)
        case 1:
            members[name] = body + rng.choice((b"", tail[:-1], tail + b"\x00", tail * 3))
        case 2:
            changed = bytearray(body)
            changed[rng.randrange(128)] = rng.randrange(256)
            members[name] = bytes(changed) + tail
        case 3:
            members[name] = npy(np.array(rng.choice(([{"a": 1}], [None], ["x"])), dtype=object))
        case 4:
            members[name] = npy(np.zeros(rng.choice(((), (0,), (2, 2), (1, 1, 1))), rng.choice(("<f8", "<i8"))))
        case _:
            members[name] = npy_header(rng.choice(("[" * 900, "__import__('os').getpid()", "{" * 99, "")), tail)
    return Input("npy", sound, zipped(members), signed=True)


@maker
def text_changed(rng: random.Random, sound: Sound) -> Input:
    """JSON as text: tokens, nesting, spelling, keys twice; with a digest that is right where there is room for one."""
    meta, arrays = sound.copy()
    heavy, size = False, rng.choice((10, 39, 41, 500, 5000, 50_000))
    _, key = rng.choice(list(spots(meta)))
    meta["description"] = "@here@" if rng.random() < 0.5 else meta["description"]
    if "@here@" not in json.dumps(meta):
        spot, key = rng.choice([(c, k) for c, k in spots(meta) if (c, k) != (meta, "digest")])
        spot[key] = "@here@"
    match rng.randrange(10):
        case 0:
            new = rng.choice(
                (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e9999", b"nan", b"+1", b"01", b".5", b"1.")
            )
        case 1:
            new, heavy = rng.choice((b"9", b"-1", b"0.1")) + b"9" * size, True
        case 2:
            new, heavy = b"[" * size + b"]" * size, True
        case 3:
            new, heavy = b'{"a":' * size + b"1" + b"}" * size, True
        case 4:
            new, heavy = b"[" + b"[],{}," * size + b"1]", True
        case 5:
            new = rng.choice((b'"x", "x": 1', b'"a", "name": "b"', b"1,", b"1 2", b"'x'", b'"\\x"', b'"\\ud800"', b'"'))
        case 6:
            new = rng.choice((b'"\xff"', '"ü"'.encode(), b'"\x01"', b'"\n"', b'"\\u12"', b"\xef\xbb\xbf1", b"/**/1"))
        case 7:
            new = rng.choice((b" 1", b"1 ", b"\t1", b"1.0", b"1E0", b"-0", b"0.0e-0", b"true", b"null", b"False"))
        case 8:
            new = json.dumps(any_value(rng)).encode()
        case _:
            new, heavy = b'"' + b"\\" * size + rng.choice((b"", b'"')), True
    text = json_bytes({k: v for k, v in meta.items() if k != "digest"}).replace(b'"@here@"', new, 1)
    text = rng.choice((text, text, text, text.replace(b"\n ", b"\n", 1), text + b" ", b" " + text, text + b"{}"))
    members = members_of(meta, arrays)
    members["meta.json"] = signed_text(text, arrays)
    return Input("JSON text", sound, zipped(members), signed=True, heavy=heavy)


def signed_text(text: bytes, arrays: Arrays) -> bytes:
    """A text of metadata without digest, with one that is right."""
    cut = text.rstrip().removesuffix(b"}").rstrip() + b"\n}"
    total = hashlib.sha256(cut)
    for name in sorted(arrays):
        total.update(f"\n{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode() + arrays[name].tobytes())
    return cut.removesuffix(b"\n}") + f',\n "digest": "{total.hexdigest()}"\n}}'.encode()


@maker
def lawful(rng: random.Random, sound: Sound) -> Input:
    """A state of hostile values with all that vouches for it: digests, and the copies in the metadata."""
    meta, arrays = sound.copy()
    state = {n: a for n, a in arrays.items() if not n.startswith("results/")}
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(sorted(state))
        array = state[name]
        if array.size:
            small = (0, 1, 2, 3, 17, 1000, 2**31, 2**53)
            real = (0.0, -0.0, 1.0, -1.0, 1e-300, 5e-324, 1e-9, 1e9, 1e16, 1e300, 1.7e308, -1.7e308, 0.1, 40.0)
            with np.errstate(all="ignore"):
                array[rng.randrange(array.size)] = rng.choice(small if array.dtype.kind == "i" else real)
    return Input("lawful", sound, vouched(sound, meta, arrays), signed=True)


def vouched(sound: Sound, meta: Meta, arrays: Arrays) -> bytes:
    runtime = {key: arrays.get(f"workspace/runtime/{key}") for key in ("t", "n", "time_shift", "dt")}
    meta |= {"t": float(runtime["t"][0]), "step": int(runtime["n"][0]), "time_shift": float(runtime["time_shift"][0])}
    meta["nominal_dt"] = float(runtime["dt"][0])
    if "stepper_config" in arrays:
        names = sound.full.stepper.option_names
        meta["stepper_config"] = dict(zip(names, (shown(v) for v in arrays["stepper_config"]), strict=True))
    if "lineage" in meta:
        blocks = sound.state.blocks()
        for spot in sound.state.layout.fields:
            blocks[spot.block][spot.span] = arrays[member_of(spot)]
        config = tuple(arrays["stepper_config"]) if "stepper_config" in arrays else ()
        moment = meta["lineage"]["moments"][-1]
        moment["state"] = state_digest_of(replace(sound.state, **blocks, config=config))
        moment |= {"t": meta["t"], "step": meta["step"]}
    return forged(meta, arrays)


def shown(value: float) -> float | str:
    return float(value) if math.isfinite(value) else repr(float(value))


# -- the contract ----------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """Sessions that stand ready for the files, one for each model, and what became of the files."""

    folder: Path
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: float = 0.0
    largest: float = 0.0
    _sims: dict[int, Sim] = field(default_factory=dict)

    def sim(self, sound: Sound) -> Sim:
        key = id(sound.full)
        if key not in self._sims:
            sim = Sim(sound.full)
            sim.run(N=2, tag="before")
            sim.create_snapshot("kept")
            self._sims[key] = sim
        return self._sims[key]

    def judge(self, given: Input) -> str:
        """Try an input; what became of it. Raises `Broken`."""
        path = self.folder / "input.npz"
        path.write_bytes(given.data)
        try:
            with deadline(SECONDS), warnings.catch_warnings():
                warnings.simplefilter("error")
                verdict = self._judged(given, path)
        except Broken:
            raise
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt):
                raise
            raise Broken(
                f"{given.kind} of {given.sound.name}: {type(problem).__name__}: {str(problem)[:300]}"
            ) from problem
        self.found[given.kind, verdict] += 1
        return verdict

    def _judged(self, given: Input, path: Path) -> str:
        sim = self.sim(given.sound)
        before, mark, state = standing(sim), sim._mark, sim._state
        began = time.perf_counter()
        if given.heavy:
            tracemalloc.start()
        try:
            meta = sim.import_snapshot(path)
        except (SnapshotFileError, PinMismatchError) as problem:
            check(sim._state is state and sim._mark is mark and standing(sim) == before, "the session changed", given)
            check(len(str(problem)) < 2000, "the message is too long", given)
            pins = isinstance(problem, PinMismatchError)
            check(
                not pins or dynlib.inspect_snapshot(path).pins != sim.full_model.pins, "the pins do not differ", given
            )
            check(not pins or given.signed, "other pins in an unsigned file", given)
            return "other pins" if pins else "refused"
        finally:
            self.slowest = max(self.slowest, time.perf_counter() - began)
            if given.heavy:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                self.largest = max(self.largest, peak / len(given.data))
                check(peak < 64 * len(given.data) + 2**22, f"{peak} bytes for {len(given.data)}", given)
        del self._sims[id(given.sound.full)]
        self._accepted(given, path, sim, meta)
        return "taken"

    def _accepted(self, given: Input, path: Path, sim: Sim, meta: dynlib.SnapshotMeta) -> None:
        content, arrays, digest = read(path)
        check(digest == content["digest"] == meta.digest, "the digest does not cover the content", given)
        state = sim.state
        check((meta.t, meta.step, meta.name) == (content["t"], content["step"], content["name"]), "metadata", given)
        for spot in state.layout.fields:
            check(state[spot.name].tobytes() == arrays[member_of(spot)].tobytes(), f"field {spot.name}", given)
        if not given.signed:
            check(given.data == given.sound.data, "bytes that are not covered by the digest", given)
        str(sim.lineage()), str(sim.tree()), sim.session_state_summary()
        again = path.with_name("again.npz")
        sim.export_snapshot(again)
        copied = Sim(given.sound.full)
        copied.import_snapshot(again)
        check(copied.state.same_bits(state), "what was taken cannot be kept", given)
        if meta.document is not None and (given.kind == "document" or self.found.total() % 8 == 0):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a model may say what it ignores
                    dynlib.open_snapshot(path, jit=False)
            except (SnapshotFileError, PinMismatchError):
                self.found["opened", "refused"] += 1
            else:
                self.found["opened", "taken"] += 1
        if meta.results is not None:
            try:
                dynlib.read_results(path)
            except SnapshotFileError:
                self.found["results read", "refused"] += 1
            else:
                self.found["results read", "taken"] += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dynlib.NumericsWarning)
            try:
                sim.run(N=4, resume=True, record=not many_samples(state))
            except (dynlib.ResumeError, dynlib.ConfigError):
                self.found["run on", "refused"] += 1
            else:
                self.found["run on", "taken"] += 1


def many_samples(state: SessionState) -> bool:
    """Whether a few steps would pass very many points of the recording grid: slow, as it would be for anyone."""
    grid = float(state["record_dt"][0])
    step = max(float(state[name][0]) for name in ("dt", "h") if name in state.layout)
    jump = abs(state.time_shift + (state.step - int(state["n_anchor"][0])) * state.nominal_dt - state.t)
    return grid > 0.0 and not (100.0 * step + jump) / grid < 1e5


def check(truth: bool, what: str, given: Input) -> None:
    if not truth:
        raise Broken(f"{given.kind} of {given.sound.name}: {what}")


def run(seed: int, count: int, folder: Path, *, keep: Path | None = None) -> tuple[Bench, list[str]]:
    """Try `count` inputs; the bench, and what broke the contract. Broken inputs are kept in a folder."""
    bench, broken = Bench(folder), []
    for number, given in enumerate(inputs(seed, count)):
        try:
            bench.judge(given)
        except Broken as problem:
            broken.append(f"input {number}: {problem}")
            if keep is not None:
                keep.mkdir(exist_ok=True)
                (keep / f"seed{seed}-input{number}.npz").write_bytes(given.data)
    return bench, broken


def main() -> int:
    parser = argparse.ArgumentParser(description="Try hostile snapshot files.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for inputs that break the contract")
    arguments = parser.parse_args()
    sound_files()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**30  # more than this is a MemoryError, which breaks the contract
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    began = time.perf_counter()
    memory = Path("/dev/shm")  # where a sync takes no time
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        bench, broken = run(arguments.seed, arguments.inputs, Path(folder), keep=arguments.keep)
    for (kind, verdict), count in sorted(bench.found.items()):
        print(f"{kind:<16} {verdict:<12} {count:>8}")
    print(f"{arguments.inputs} inputs in {time.perf_counter() - began:.0f} s; slowest {bench.slowest:.3f} s; ", end="")
    print(f"at most {bench.largest:.1f} bytes of memory per byte of file; {len(broken)} broke the contract")
    print(*broken, sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
