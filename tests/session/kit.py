"""Models, builds and checks that the tests of sessions share. Kernels are interpreted unless a test needs speed."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from conformance.cases import CASES

from dynlib import FullModel, Model, Results, Sim, build, list_steppers, map_model, ode_model

IZHIKEVICH = """inline:
[model]
type = "ode"
name = "neuron"
[states]
v = -65.0
u = -13.0
[params]
a = 0.02
b = 0.2
c = -65.0
d = 8.0
I = 10.0
v_th = 30.0
[equations.rhs]
v = "0.04*v^2 + 5*v + 140 - u + I"
u = "a*(b*v - u)"
[events.spike]
phase = "post"
cond = "v >= v_th"
action = "v = c; u = u + d"
log = ["t", "v"]
tags = ["spike"]
[presets.bursting.params]
c = -50.0
d = 2.0
[presets.slow.params]
a = 0.01
[presets.slow.states]
v = -70.0
[sim]
dt = 0.1
stepper = "rk4"
"""
RING_EQUATIONS = "du[i] = w - g[0]*u[i] + 0.1*lag_w(2)\ndw = k - w*u[0]"
RING_EVENTS = {
    "low": {
        "phase": "post",
        "cond": "cross_down(w, 0.45)",
        "action": "w = w + 0.2",
        "log": ["t", "w"],
        "tags": ["drop"],
    },
    "high": {"phase": "pre", "cond": "w > 0.55", "log": ["t", "w"], "tags": ["drop", "level"]},
    "quiet": {"phase": "post", "cond": "w > 2.0", "action": "w = 1.0"},
}
STEPPERS = tuple(name for name in list_steppers("ode") if (name, "both") in CASES)


@cache
def ring_model(dtype: str = "float64") -> Model:
    """An array state, an array parameter, a lag, an aux variable, and events with and without a log."""
    return ode_model(
        "ring",
        states={"u": [0.1, 0.2, 0.3, 0.4], "w": 0.5},
        params={"g": [1.0, 2.0], "k": 0.15},
        equations=RING_EQUATIONS,
        aux={"s": "u[0] + u[1]"},
        events=RING_EVENTS,
        dtype=dtype,
    )


@cache
def lagged_map() -> Model:
    return map_model(
        "delayed",
        states={"x": 0.3, "n": 0.0},
        params={"r": 3.1},
        equations={"x": "r*x*(1 - lag_x(3))*0.7", "n": "n + 1"},
    )


@cache
def neuron_full(stepper: str = "rk4", *, jit: bool = False) -> FullModel:
    return build(IZHIKEVICH, stepper=stepper, jit=jit)


def neuron(stepper: str = "rk4", *, jit: bool = False) -> Sim:
    return Sim(neuron_full(stepper, jit=jit))


@cache
def ring_full(stepper: str = "rk4", dtype: str = "float64") -> FullModel:
    return build(ring_model(dtype), stepper=stepper, dt=0.05, jit=False)


def ring(stepper: str = "rk4", dtype: str = "float64") -> Sim:
    return Sim(ring_full(stepper, dtype))


@cache
def map_full() -> FullModel:
    return build(lagged_map(), jit=False)


def content(raw: Results) -> tuple[Any, ...]:
    """Everything in results, comparable."""
    arrays = (raw.t, raw.step, raw.at_stop, raw.data, raw.log.t, raw.log.step, raw.log.event, raw.log.values)
    return (raw.columns, raw.segments, *((a.shape, a.dtype, np.ascontiguousarray(a).tobytes()) for a in arrays))


def standing(sim: Sim) -> tuple[Any, ...]:
    """The whole observable session, comparable bit for bit."""
    state = sim.state
    blocks = tuple(block.tobytes() for block in (state.times, state.reals, state.counts))
    names = [s.name for s in sim.presets._presets.values()]
    return blocks, state.config, state.status, state.pins, content(sim.raw_results()), sim.list_snapshots(), names


@contextmanager
def unchanged(sim: Sim) -> Iterator[None]:
    """Nothing inside may change the session, its results, its snapshots, or where the next run starts."""
    before, mark = standing(sim), sim._mark
    yield
    assert standing(sim) == before
    assert sim._mark.same_bits(mark)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What is inside must end in time; a hang becomes a failure. For interpreted kernels in the main thread."""

    def late(number: int, frame: object) -> None:
        raise AssertionError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


# -- snapshot files taken apart and put together, independently of the library --------------------------------------


def parts(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata and arrays of a snapshot file."""
    with zipfile.ZipFile(path) as archive:
        meta = json.loads(archive.read("meta.json"))
        names = [n for n in archive.namelist() if n != "meta.json"]
        arrays = {n.removesuffix(".npy"): np.load(io.BytesIO(archive.read(n)), allow_pickle=False) for n in names}
    return meta, arrays


def json_bytes(meta: Mapping[str, Any]) -> bytes:
    return json.dumps(meta, indent=1).encode()


def digest_of(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """The digest as the format defines it."""
    total = hashlib.sha256(json_bytes({k: v for k, v in meta.items() if k != "digest"}))
    for name in sorted(arrays):
        total.update(f"\n{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        total.update(arrays[name].tobytes())
    return total.hexdigest()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=True)
    return stream.getvalue()


def npy_header(text: str, body: bytes = b"") -> bytes:
    """An array member with a header of one's own."""
    head = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + body


def members_of(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    return {"meta.json": json_bytes(meta)} | {f"{n}.npy": npy(arrays[n]) for n in sorted(arrays)}


def zipped(members: Mapping[str, bytes] | list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    pairs = members.items() if isinstance(members, Mapping) else members
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in pairs:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data, compression)
    return stream.getvalue()


def forged(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """A file whose digest is right, whatever its content: what an attacker would send."""
    meta = {**meta, "arrays": sorted(arrays)}
    meta["digest"] = digest_of(meta, arrays)
    return zipped(members_of(meta, arrays))
