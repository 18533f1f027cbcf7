"""Snapshot files: their format, how they are written, and everything that may be wrong with one that is read."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from session.kit import (
    STEPPERS,
    deadline,
    digest_of,
    forged,
    json_bytes,
    map_full,
    members_of,
    neuron,
    neuron_full,
    npy,
    npy_header,
    parts,
    ring,
    ring_full,
    ring_model,
    unchanged,
    zipped,
)

import dynlib
from dynlib import (
    ConfigError,
    FullModel,
    PinMismatchError,
    Sim,
    SnapshotError,
    SnapshotFileError,
    UnknownNameError,
    inspect_snapshot,
)
from dynlib.session import archive, durable, snapshot_file
from dynlib.session import full_model as full_model_module
from dynlib.session.snapshot_file import write_snapshot
from dynlib.session.stored_results import StorePosition

Meta = dict[str, Any]
Arrays = dict[str, np.ndarray]


def used(stepper: str = "rk45") -> Sim:
    """A session in the middle of a step, with results, segments and a snapshot."""
    sim = ring(stepper)
    sim.run(T=1.03, tag="a")
    sim.create_snapshot("kept")
    sim.run(T=2.07, resume=True)
    return sim


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.npz"


def refused(sim: Sim, path: Path, match: str = "") -> str:
    """The import and the inspection raise the same single error type, and nothing changes."""
    with unchanged(sim), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SnapshotFileError, match=match) as caught:
            sim.import_snapshot(path)
    return str(caught.value)


# -- format ----------------------------------------------------------------------------------------------------------


def test_members_and_metadata(path: Path) -> None:
    sim = used()
    sim.export_snapshot(path, name="mine")
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    assert infos[0].filename == "meta.json"
    assert [i.filename for i in infos[1:]] == sorted(
        ["y.npy", "params.npy", "stepper_config.npy"]
        + [f"workspace/runtime/{n}.npy" for n in (
            "base", "t", "t_base", "time_shift", "dt", "record_t0", "record_dt", "n", "n_anchor", "begun", "pending",
            "record_n0", "record_interval", "lag_w",
        )]
        + [f"workspace/stepper/{n}.npy" for n in ("k1", "h", "error_before", "error_earlier", "k1_valid", "rejected")]
    )  # fmt: skip
    assert {i.compress_type for i in infos} == {zipfile.ZIP_STORED}
    assert {i.date_time for i in infos} == {(1980, 1, 1, 0, 0, 0)}
    meta, arrays = parts(path)
    assert (meta["schema"], meta["schema_version"]) == ("dynlib-snapshot", 3)
    assert (meta["name"], meta["model"], meta["t"]) == ("mine", "ring", 2.07)
    assert (meta["step"], meta["time_shift"], meta["nominal_dt"]) == (sim.step, 0.0, 0.05)
    assert set(meta["pins"]) == {
        "structure", "stepper", "workspace", "dtype", "math", "numerics_revision", "library_version",
    }  # fmt: skip
    assert meta["pins"]["library_version"] == dynlib.__version__
    assert meta["stepper_config"]["rtol"] == 1e-5
    assert meta["digest"] == digest_of(meta, arrays)
    assert np.array_equal(arrays["y"], sim.state_vector())
    assert np.array_equal(arrays["params"], sim.param_vector())
    assert arrays["workspace/runtime/lag_w"].shape == (3,)


def test_metadata_is_strict_json(path: Path) -> None:
    """`max_step` of rk45 is infinite by default, and JSON has no infinity."""
    used("rk45").export_snapshot(path)
    with zipfile.ZipFile(path) as archive:
        text = archive.read("meta.json").decode("ascii")
    meta = json.loads(text, parse_constant=lambda token: pytest.fail(f"{token} in JSON"))
    assert meta["stepper_config"]["max_step"] == "inf"
    assert inspect_snapshot(path).stepper_config["max_step"] == float("inf")


def test_a_stepper_without_options_has_no_config_array(path: Path) -> None:
    used("rk4").export_snapshot(path)
    meta, arrays = parts(path)
    assert "stepper_config" not in arrays
    assert meta["stepper_config"] == {}


def test_nothing_in_a_file_is_pickled(path: Path) -> None:
    used().export_snapshot(path)
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[n].dtype.kind in "fi" for n in archive.files if n != "meta.json")


def test_the_same_snapshot_gives_the_same_bytes(tmp_path: Path) -> None:
    sim = used()
    for name in ("1", "2"):
        sim.export_snapshot(tmp_path / name, source="snapshot", name="kept")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_same_state_gives_the_same_bytes_at_another_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k, name in enumerate(("1", "2")):
        sim = used()
        monkeypatch.setattr(time, "time", lambda k=k: 1.7e9 + 1000.0 * k)
        sim.export_snapshot(tmp_path / name)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_copy_of_a_copy_holds_the_same_arrays(tmp_path: Path) -> None:
    sim, other = used(), ring("rk45")
    sim.export_snapshot(tmp_path / "1")
    other.import_snapshot(tmp_path / "1")
    other.export_snapshot(tmp_path / "2")
    first, second = parts(tmp_path / "1")[1], parts(tmp_path / "2")[1]
    assert {n: a.tobytes() for n, a in first.items()} == {n: a.tobytes() for n, a in second.items()}


# -- round trip ------------------------------------------------------------------------------------------------------


def builds() -> list[Any]:
    cases = [pytest.param(ring_full(s, d), id=f"ring-{s}-{d}") for s in STEPPERS for d in ("float64", "float32")]
    cases += [pytest.param(neuron_full(s), id=f"neuron-{s}") for s in STEPPERS]
    return [*cases, pytest.param(map_full(), id="map")]


@pytest.mark.parametrize("full", builds())
@pytest.mark.parametrize("T", [7.0, 7.033], ids=["on a step", "inside a step"])
def test_round_trip(full: FullModel, T: float, path: Path) -> None:
    sim, other = Sim(full), Sim(full)
    sim.run(T=T)
    sim.export_snapshot(path)
    meta = other.import_snapshot(path)
    assert other.state.same_bits(sim.state)
    assert (other.state.status, meta.status) == (sim.state.status, "DONE")
    assert (meta.t, meta.step, meta.pins) == (sim.t, sim.step, full.pins)
    sim.run(T=12.5, resume=True)
    other.run(T=12.5, resume=True)
    assert other.state.same_bits(sim.state)


@pytest.mark.parametrize("full", [ring_full("ab3"), ring_full("rk45"), map_full()], ids=["ab3", "rk45", "map"])
def test_round_trip_of_a_state_that_never_ran(full: FullModel, path: Path) -> None:
    sim, other = Sim(full), Sim(full)
    sim.export_snapshot(path)
    other.run(T=5.0)
    other.import_snapshot(path)
    assert other.state.same_bits(sim.state)


def test_round_trip_keeps_options_recording_grid_and_signed_zero(path: Path) -> None:
    sim, other = ring("rk45"), ring("rk45")
    sim.run(T=3.3, rtol=1e-7, max_step=0.2, record_dt=0.25, dt=0.01)
    sim.assign({"k": -0.0})
    sim.run(T=4.1, resume=True)
    sim.export_snapshot(path)
    other.import_snapshot(path)
    assert other.state.same_bits(sim.state)
    assert other.config()["options"]["rtol"] == 1e-7
    assert np.signbit(other.param_dict()["k"])
    other.run(T=5.0, resume=True)
    assert other.results().t[:-1].tolist() == [4.25, 4.5, 4.75]


def test_a_state_that_ran_into_an_infinity_can_be_kept(path: Path) -> None:
    """What is written can be read: a parameter that an event made infinite is no reason to lose a checkpoint."""
    model = dynlib.ode_model(
        "growth",
        states={"x": 1.0},
        params={"p": 10.0},
        equations={"x": "-x"},
        events={"square": {"phase": "post", "cond": "x > 0", "action": "p = p*p"}},
    )
    sim = dynlib.setup(model, stepper="rk4", dt=0.01, jit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dynlib.NumericsWarning)
        sim.run(T=1.0)
    try:
        sim.export_snapshot(path)
    except SnapshotError as problem:
        assert "p" in str(problem)
    else:
        kept = sim.state
        sim.import_snapshot(path)
        assert sim.state.same_bits(kept)


def test_a_failed_run_can_be_kept_and_read(path: Path) -> None:
    model = dynlib.ode_model("blowup", states={"x": 1.0}, equations={"x": "x*x"})
    for stepper in ("rk4", "rk45"):
        sim = dynlib.setup(model, stepper=stepper, dt=0.01, jit=False)
        with pytest.warns(dynlib.NumericsWarning):
            sim.run(T=5.0)
        sim.export_snapshot(path)
        kept = sim.state
        assert sim.import_snapshot(path).status == kept.status.name
        assert sim.state.same_bits(kept)


def test_names_and_descriptions_of_any_text(path: Path) -> None:
    sim = used()
    for k, text in enumerate(["ünï ☃", 'quote " and \\', "line\nbreak", "a" * 10_000, "../../x", "\x00"]):
        sim.create_snapshot(f"{text}{k}", text)
        sim.export_snapshot(path, source="snapshot", name=f"{text}{k}")
        meta = sim.inspect_snapshot(path)
        assert (meta.name, meta.description) == (f"{text}{k}", text)


def test_a_description_that_is_no_text_is_refused_before_it_makes_an_unreadable_file(path: Path) -> None:
    sim = used()
    try:
        sim.create_snapshot("odd", 5)  # type: ignore[arg-type]
        sim.export_snapshot(path, source="snapshot", name="odd")
    except (SnapshotError, ConfigError):
        return
    sim.inspect_snapshot(path)


def test_export_names_what_it_cannot_do(path: Path, tmp_path: Path) -> None:
    sim = used()
    with pytest.raises(ConfigError, match="name="):
        sim.export_snapshot(path, source="snapshot")
    with pytest.raises(ConfigError, match="'current' or 'snapshot'"):
        sim.export_snapshot(path, source="latest")
    with pytest.raises(UnknownNameError, match="did you mean 'kept'"):
        sim.export_snapshot(path, source="snapshot", name="kepd")
    with pytest.raises(SnapshotError, match="is a folder"):
        sim.export_snapshot(tmp_path)
    with pytest.raises(SnapshotError, match="there is no folder"):
        sim.export_snapshot(tmp_path / "no" / "a.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("of", "now"), [("rk45", "rk4"), ("rk4", "rk45")])
def test_a_snapshot_of_an_earlier_model_is_written_as_it_was(of: str, now: str, path: Path) -> None:
    """After another model was put in, an old snapshot still goes to a file that its own model can read."""
    sim = used(of)
    sim.full_model = ring_full(now)
    sim.export_snapshot(path, source="snapshot", name="kept")
    back = ring(of)
    back.import_snapshot(path)
    assert back.state.same_bits(sim.snapshot("kept").state)


def test_the_file_names_the_model_of_the_state_not_of_the_session(path: Path) -> None:
    sim = used("rk4")
    sim.full_model = neuron_full("rk4")
    sim.export_snapshot(path, source="snapshot", name="kept")
    assert sim.inspect_snapshot(path).model == "ring"


# -- writing ---------------------------------------------------------------------------------------------------------


def test_file_and_folder_are_synced_in_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"file {os.fstat(handle).st_size}")
        real_sync(handle)

    def replace(source: Any, target: Any) -> None:
        calls.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    used().export_snapshot(path)
    assert calls == [f"file {path.stat().st_size}", "replace", "folder"]


@pytest.mark.parametrize("broken", ["open", "write", "chmod", "fsync", "close", "replace"])
def test_a_failing_write_leaves_the_earlier_file_and_no_temporary(
    path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    sim = used()
    sim.export_snapshot(path)
    before = path.read_bytes()
    sim.run(T=3.0, resume=True)

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.DISK, broken, fail)
    with unchanged(sim), pytest.raises(SnapshotError) as caught:
        sim.export_snapshot(path)
    assert str(caught.value) == f"cannot write {path}: No space left on device; the file of before is whole"
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_earlier_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = used()
    sim.export_snapshot(path)
    before = path.read_bytes()

    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sim.export_snapshot(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


_LOOP = """
import sys
from dynlib import Sim, build, ode_model
sim = Sim(build(ode_model("big", states={"u[20000]": 1.0}, equations="du[i] = -u[i]"), stepper="euler", jit=False))
k = 0
while True:
    k += 1
    sim.assign({"u[0]": float(k)})
    sim.export_snapshot(sys.argv[1], name=f"n{k}")
    if k == 1:
        print("ready", flush=True)
"""


def test_a_killed_process_never_leaves_a_torn_file(path: Path) -> None:
    """A writer in a loop is killed at random moments: the file is whole, and reads as what was written."""
    rng = random.Random(5)
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", _LOOP, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.08))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert inspect_snapshot(path).name == f"n{parts(path)[1]['y'][0]:.0f}"
    used().export_snapshot(path)
    assert list(path.parent.iterdir()) == [path]
    assert inspect_snapshot(path).model == "ring"


def test_the_orphan_of_a_dead_process_goes_and_other_files_stay(path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    used().export_snapshot(path)
    before = set(path.parent.iterdir())
    writer = subprocess.Popen([sys.executable, "-c", _LOOP, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    writer.stdout.readline()
    orphans: set[Path] = set()
    for _ in range(2000):  # stop it while its temporary file is there
        writer.send_signal(signal.SIGSTOP)
        orphans = set(path.parent.iterdir()) - before
        if orphans:
            break
        writer.send_signal(signal.SIGCONT)
        time.sleep(0.0005)
    try:
        assert len(orphans) == 1
        (orphan,) = orphans
        used().export_snapshot(path)
        assert orphan.exists(), "the temporary file of a living process is not ours to remove"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    bystander = path.parent / f".other.npz.{dead.pid}.tmp"
    bystander.write_text("not ours")
    used().export_snapshot(path)
    assert not orphan.exists()
    assert set(path.parent.iterdir()) == {path, bystander}


def test_two_threads_may_write_the_same_file(path: Path) -> None:
    """Each write is whole: the last one stays, no one fails, and a reader never sees part of one."""
    sims = [ring("rk45"), ring("rk45")]
    sims[1].run(T=3.0)
    sims[0].export_snapshot(path)
    problems: list[BaseException] = []
    done = threading.Event()

    def write(sim: Sim) -> None:
        try:
            for _ in range(60):
                sim.export_snapshot(path)
        except BaseException as problem:  # noqa: BLE001 (reported below)
            problems.append(problem)

    def read() -> None:
        try:
            while not done.is_set():
                inspect_snapshot(path)
        except BaseException as problem:  # noqa: BLE001 (reported below)
            problems.append(problem)

    writers = [threading.Thread(target=write, args=(sim,)) for sim in sims]
    reader = threading.Thread(target=read)
    reader.start()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert problems == []
    assert list(path.parent.iterdir()) == [path]


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_of_the_umask(umask: Callable[[int], int], path: Path, mask: int, mode: int) -> None:
    umask(mask)
    used().export_snapshot(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o666, 0o640])
def test_an_existing_file_keeps_its_mode(umask: Callable[[int], int], path: Path, mode: int) -> None:
    umask(0o077)
    path.write_text("earlier")
    path.chmod(mode)
    used().export_snapshot(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    inspect_snapshot(path)


def test_what_is_no_plain_file_is_not_replaced(path: Path) -> None:
    """A pipe or device in the place of the file: an export to `/dev/null` must not remove it."""
    os.mkfifo(path)
    with pytest.raises(SnapshotError):
        used().export_snapshot(path)
    assert path.is_fifo()


def test_reading_a_pipe_or_folder_does_not_block(path: Path, tmp_path: Path) -> None:
    os.mkfifo(path)
    sim = used()
    refused(sim, path, "not a regular file")
    refused(sim, tmp_path, "not a regular file")
    refused(sim, tmp_path / "none.npz", "there is no file")


# -- damage ----------------------------------------------------------------------------------------------------------


def identical_or_refused(sim: Sim, path: Path, data: bytes) -> bool:
    """Whether the file was refused; otherwise it holds the very same state."""
    path.write_bytes(data)
    before = sim.state
    try:
        inspect_snapshot(path)
    except SnapshotFileError:
        with pytest.raises(SnapshotFileError):
            sim.import_snapshot(path)
        assert sim.state is before
        return True
    sim.import_snapshot(path)
    assert sim.state.same_bits(before)
    assert sim.state.status is before.status
    return False


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"hello, this is text\n" * 50, "does not begin like one"),
        (b"PK\x03\x04", "truncated or damaged"),
        (b"PK\x05\x06" + bytes(18), "does not begin like one"),
        (bytes(4096), "does not begin like one"),
        (b"\x80\x04\x95" + b"x" * 40, "does not begin like one"),
    ],
    ids=["empty", "text", "magic", "empty-zip", "zeros", "pickle"],
)
def test_foreign_files(path: Path, data: bytes, reason: str) -> None:
    path.write_bytes(data)
    refused(used(), path, reason)


def test_a_file_of_results_is_not_a_snapshot(path: Path) -> None:
    from dynlib.results.export import export_results

    sim = used()
    export_results(sim.results(), path)
    refused(sim, path, "unexpected member|meta.json is missing")


@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
def test_truncated_files(path: Path, stepper: str) -> None:
    sim = used(stepper)
    sim.export_snapshot(path)
    good = path.read_bytes()
    with unchanged(sim):
        for size in (*range(0, len(good), 97), len(good) - 1):
            path.write_bytes(good[:size])
            with pytest.raises(SnapshotFileError):
                sim.import_snapshot(path)


@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
def test_flipped_bits(path: Path, stepper: str) -> None:
    """A bit anywhere: the file is refused, or the bit was one that no reader uses."""
    sim = used(stepper)
    sim.export_snapshot(path)
    good = path.read_bytes()
    rng = random.Random(11)
    content: set[int] = set()
    for info in zipfile.ZipFile(path).infolist():
        start = info.header_offset + 30 + len(info.filename)
        content |= set(range(start, start + info.file_size))
    headers = sorted(set(range(len(good))) - content)
    for spot in (*rng.sample(sorted(content), 700), *headers[::3]):
        flipped = bytearray(good)
        flipped[spot] ^= 1 << rng.randrange(8)
        assert identical_or_refused(sim, path, bytes(flipped)) or spot not in content


def test_blocks_overwritten_exchanged_or_appended(path: Path) -> None:
    """What disks and copies do: zeroed sectors, swapped blocks, two files run together."""
    sim = used()
    sim.export_snapshot(path)
    good = path.read_bytes()
    with unchanged(sim):
        for start in range(0, len(good) - 512, 512):
            path.write_bytes(good[:start] + bytes(512) + good[start + 512 :])
            with pytest.raises(SnapshotFileError):
                sim.import_snapshot(path)
        path.write_bytes(good[512:1024] + good[:512] + good[1024:])
        with pytest.raises(SnapshotFileError):
            sim.import_snapshot(path)
    state = sim.state
    for data in (good + good, good + bytes(100), good[:-1] + b"\x01", good + b"\n"):
        path.write_bytes(data)
        try:
            sim.import_snapshot(path)
        except SnapshotFileError:
            continue
        assert sim.state.same_bits(state)


def test_every_bit_of_member_names_counts(path: Path) -> None:
    """A member that changes its name does not just vanish from the state."""
    sim = used()
    sim.export_snapshot(path)
    good = path.read_bytes()
    names = zipfile.ZipFile(path).namelist()
    with unchanged(sim):
        for name in names:
            start = good.find(name.encode())
            while start >= 0:
                flipped = bytearray(good)
                flipped[start + len(name) // 2] ^= 4
                path.write_bytes(bytes(flipped))
                with pytest.raises(SnapshotFileError):
                    sim.import_snapshot(path)
                start = good.find(name.encode(), start + 1)


# -- forged files: well formed, with a digest that is right ----------------------------------------------------------


def changed(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Meta, Arrays], None]:
    def apply(meta: Meta, arrays: Arrays) -> None:
        arrays[name] = edit(arrays[name].copy())

    return apply


def put(name: str, value: float, at: int = 0) -> Callable[[Meta, Arrays], None]:
    def edit(array: np.ndarray) -> np.ndarray:
        array[at] = value
        return array

    return changed(name, edit)


def says(**values: Any) -> Callable[[Meta, Arrays], None]:
    return lambda meta, arrays: meta.update(values)


def lacks(key: str) -> Callable[[Meta, Arrays], None]:
    def apply(meta: Meta, arrays: Arrays) -> None:
        del meta[key]

    return apply


def both(*edits: Callable[[Meta, Arrays], None]) -> Callable[[Meta, Arrays], None]:
    def apply(meta: Meta, arrays: Arrays) -> None:
        for edit in edits:
            edit(meta, arrays)

    return apply


def without(name: str) -> Callable[[Meta, Arrays], None]:
    return lambda meta, arrays: (arrays.pop(name) is None and None) or None


def with_array(name: str, array: np.ndarray) -> Callable[[Meta, Arrays], None]:
    return lambda meta, arrays: arrays.update({name: array})


def pinned(**values: Any) -> Callable[[Meta, Arrays], None]:
    return lambda meta, arrays: meta["pins"].update(values)


def optioned(**values: Any) -> Callable[[Meta, Arrays], None]:
    return lambda meta, arrays: meta["stepper_config"].update(values)


RUNTIME, STEPPER = "workspace/runtime", "workspace/stepper"
FORGERIES: dict[str, tuple[Callable[[Meta, Arrays], None], str]] = {
    "y float32": (changed("y", lambda a: a.astype("<f4")), r"array 'y' is float32\[5\], expected float64\[5\]"),
    "y int64": (changed("y", lambda a: a.astype("<i8")), "array 'y' is int64"),
    "count as float": (changed(f"{RUNTIME}/n", lambda a: a.astype("<f8")), "expected int64"),
    "y too short": (changed("y", lambda a: a[:-1]), r"float64\[4\], expected float64\[5\]"),
    "y too long": (changed("y", lambda a: np.append(a, 1.0)), r"float64\[6\], expected float64\[5\]"),
    "y empty": (changed("y", lambda a: a[:0]), r"\[0\]"),
    "y matrix": (changed("y", lambda a: a.reshape(1, 5)), "'y.npy' has an unexpected type, shape or length"),
    "y scalar": (changed("y", lambda a: np.array(a[0])), "unexpected type, shape or length"),
    "y big endian": (changed("y", lambda a: a.astype(">f8")), "unexpected type, shape or length"),
    "y complex": (changed("y", lambda a: a.astype("<c16")), "unexpected type, shape or length"),
    "y bool": (changed("y", lambda a: a.astype("?")), "unexpected type, shape or length"),
    "y text": (changed("y", lambda a: a.astype("<U8")), "unexpected type, shape or length"),
    "lags of another depth": (changed(f"{RUNTIME}/lag_w", lambda a: a[:-1]), "lag_w"),
    "NaN in y": (put("y", np.nan, 2), "array 'y' holds a value that is not finite"),
    "inf in y": (put("y", -np.inf), "array 'y' holds a value that is not finite"),
    "NaN in lags": (put(f"{RUNTIME}/lag_w", np.nan), "lag_w' holds a value that is not finite"),
    "NaN in k1": (put(f"{STEPPER}/k1", np.nan), "k1' holds a value that is not finite"),
    "NaN time": (put(f"{RUNTIME}/t", np.nan), "not finite"),
    "negative count": (put(f"{RUNTIME}/n", -1), "impossible count"),
    "huge count": (put(f"{RUNTIME}/n", 2**62), "impossible count"),
    "flag of 2": (put(f"{RUNTIME}/pending", 2), "impossible counters"),
    "slope of 2": (put(f"{STEPPER}/k1_valid", 2), "impossible 'k1_valid'"),
    "anchor ahead": (put(f"{RUNTIME}/n_anchor", 10**6), "impossible counters"),
    "negative step size": (put(f"{STEPPER}/h", -0.1), "step size is negative"),
    "negative dt": (both(says(nominal_dt=-0.05), put(f"{RUNTIME}/dt", -0.05)), "negative"),
    "time in meta": (says(t=9.0), "time or step count differ"),
    "time in array": (put(f"{RUNTIME}/t", 9.0), "time or step count differ"),
    "step in meta": (says(step=10**6), "time or step count differ"),
    "shift in meta": (says(time_shift=1.0), "time or step count differ"),
    "dt in meta": (says(nominal_dt=1.0), "time or step count differ"),
    "array missing": (without(f"{STEPPER}/k1"), "array 'workspace/stepper/k1' is missing"),
    "y missing": (without("y"), "array 'y' is missing"),
    "config missing": (without("stepper_config"), "array 'stepper_config' is missing"),
    "array added": (with_array(f"{STEPPER}/f1", np.zeros(5)), "f1' is not part of this model's state"),
    "array in no place": (with_array("extra", np.zeros(5)), "unexpected member 'extra.npy'"),
    "path upwards": (with_array("workspace/runtime/../x", np.zeros(1)), "unexpected member"),
    "absolute path": (with_array("/y", np.zeros(1)), "unexpected member"),
    "key missing": (lacks("status"), "missing or unknown keys: status"),
    "key added": (says(extra=1), "missing or unknown keys: extra"),
    "other schema": (says(schema="numpy"), "its schema is 'numpy'"),
    "later version": (says(schema_version=4), "schema version 4; this library reads versions 1 to 3"),
    "version as text": (says(schema_version="1"), "schema version '1'"),
    "status unknown": (says(status="FINE"), "wrong kind"),
    "status a number": (says(status=1), "wrong kind"),
    "name a number": (says(name=1), "wrong kind"),
    "name null": (says(name=None), "wrong kind"),
    "time a text": (says(t="2.07"), "wrong kind"),
    "time true": (says(t=True), "wrong kind"),
    "time a list": (says(t=[1.0]), "wrong kind"),
    "time too great for a float": (says(t=10**400), "wrong kind"),
    "dt too great for a float": (says(nominal_dt=-(10**400)), "wrong kind"),
    "step a float": (says(step=1.5), "wrong kind"),
    "step huge": (says(step=10**300), "differ"),
    "pins a list": (says(pins=[]), "wrong kind"),
    "pin added": (pinned(more="x"), "wrong kind"),
    "pin a number": (pinned(stepper=4), "wrong kind"),
    "revision a text": (pinned(numerics_revision="1"), "wrong kind"),
    "revision true": (pinned(numerics_revision=True), "wrong kind"),
    "option true": (optioned(rtol=True), "option 'rtol' is not a number"),
    "option a text": (optioned(rtol="1e-5"), "option 'rtol' is not a number"),
    "option nan": (optioned(rtol="nan"), "option 'rtol' is not a number"),
    "option too great for a float": (optioned(rtol=10**400), "rtol"),
    "option only in meta": (optioned(rtol=1e-3), "configuration differs"),
    "option added": (optioned(more=1.0), "other options than the stepper"),
    "options a list": (says(stepper_config=[]), "wrong kind"),
    "option negative": (
        lambda m, a: [m["stepper_config"].update(rtol=-1.0), put("stepper_config", -1.0)(m, a)],
        "impossible value",
    ),
    "option that retries for ever": (
        lambda m, a: [m["stepper_config"].update(min_factor=2.0), put("stepper_config", 2.0, 3)(m, a)],
        "impossible value: option 'min_factor' must be less than 1",
    ),
    "config too long": (changed("stepper_config", lambda a: np.append(a, 1.0)), "configuration differs"),
}


@pytest.fixture(scope="module")
def taken_apart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sim, str]:
    sim = used("rk45")
    path = tmp_path_factory.mktemp("good") / "a.npz"
    sim.export_snapshot(path)
    return sim, str(path)


def copied(meta: Meta, arrays: Arrays) -> tuple[Meta, Arrays]:
    return json.loads(json.dumps(meta)), {n: a.copy() for n, a in arrays.items()}


def test_a_forged_file_with_nothing_changed_is_read(taken_apart: tuple[Sim, str], path: Path) -> None:
    """The forger of these tests is good enough: what it refuses is refused for the change made."""
    sim, good = taken_apart
    path.write_bytes(forged(*copied(*parts(Path(good)))))
    other = ring("rk45")
    other.import_snapshot(path)
    assert other.state.same_bits(sim.state)


@pytest.mark.parametrize("case", FORGERIES)
def test_forged_files(taken_apart: tuple[Sim, str], path: Path, case: str) -> None:
    sim, good = taken_apart
    edit, reason = FORGERIES[case]
    meta, arrays = copied(*parts(Path(good)))
    edit(meta, arrays)
    path.write_bytes(forged(meta, arrays))
    assert str(path) in refused(sim, path, reason)


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(path: Path) -> None:
    link = path.parent / "link.npz"
    link.symlink_to(path)
    sim = ring("rk4")
    sim.export_snapshot(path)
    sim.run(T=1.0)
    sim.export_snapshot(link)
    assert link.is_symlink()
    assert sim.inspect_snapshot(path).t == 1.0


@pytest.mark.parametrize("began_here", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("record_dt", 1e-300), ("record_dt", 5e-324), ("record_dt", 1e300), ("record_t0", -1e300),
        ("record_t0", 1e300), ("record_interval", 2**53), ("record_n0", 2**53), ("record_interval", 0),
    ],
)  # fmt: skip
def test_a_forged_recording_cannot_hang_or_crash_the_next_run(
    path: Path, name: str, value: float, began_here: bool
) -> None:
    """Values that no session can have are refused on import, or the next run ends as any run does."""
    sim = ring("rk4")
    sim.run(T=2.0, record_dt=0.5)
    sim.export_snapshot(path)
    meta, arrays = parts(path)
    if began_here:
        arrays[f"{RUNTIME}/record_t0"] = arrays[f"{RUNTIME}/t"]
    put(f"{RUNTIME}/{name}", value)(meta, arrays)
    path.write_bytes(forged(meta, arrays))
    other = ring("rk4")
    with deadline(2.0), warnings.catch_warnings():
        warnings.simplefilter("ignore", dynlib.NumericsWarning)
        try:
            other.import_snapshot(path)
        except SnapshotFileError:
            return
        other.run(T=3.0, resume=True, max_steps=100)
    assert other.t == 3.0


# -- a position in a store -------------------------------------------------------------------------------------------


def position_of(sim: Sim) -> StorePosition:
    raw = sim.raw_results()
    return StorePosition(len(raw.t), len(raw.log.t), 0.25, raw.columns, raw.segments)


def written(sim: Sim, path: Path, store: StorePosition | None) -> None:
    observers: list[Meta] = []
    write_snapshot(path, sim._current("c"), created="", jit=False, observers=observers, store=store)


def test_a_position_in_a_store_is_carried(path: Path) -> None:
    sim = used()
    position = position_of(sim)
    assert position.segments
    assert position.rows > 0
    for store in (position, replace(position, transient_end=None, segments=()), None):
        written(sim, path, store)
        assert inspect_snapshot(path).store == store
        sim.import_snapshot(path)
        meta = parts(path)[0]
        assert (meta["store"] is None) == (store is None)
    sim.export_snapshot(path)
    assert parts(path)[0]["store"] is None


SEGMENT = {
    "name": "a", "t_start": 0.0, "t_end": 1.0, "step_start": 0, "step_end": 5, "resume": False, "cfg_hash": "x",
    "status": "DONE", "rows": [0, 3], "entries": [0, 0],
}  # fmt: skip
STORE = {"rows": 3, "entries": 1, "transient_end": None, "columns": ["w"], "segments": [SEGMENT]}


@pytest.mark.parametrize(
    "edit",
    [
        {"rows": -1}, {"rows": 2}, {"rows": True}, {"rows": 3.0}, {"rows": "3"}, {"rows": None}, {"rows": 10**30},
        {"entries": -1}, {"entries": 2**53 + 1}, {"entries": 0.5}, {"transient_end": True}, {"transient_end": "inf"},
        {"transient_end": 10**400}, {"transient_end": []}, {"columns": "w"}, {"columns": [1]}, {"columns": [[]]},
        {"columns": ["w", "w"]}, {"columns": None}, {"segments": None}, {"segments": {}}, {"segments": [None]},
        {"segments": [{}]}, {"extra": 1},
        *({"segments": [{**SEGMENT, **s}]} for s in (
            {"rows": [0, 4]}, {"rows": [2, 1]}, {"rows": [0]}, {"rows": [0, 3.0]}, {"entries": [0, 2]},
            {"entries": [-1, 0]}, {"t_start": 10**400}, {"t_end": None}, {"t_end": True}, {"step_start": -1},
            {"step_end": 2**60}, {"step_end": 1.5}, {"resume": 1}, {"status": "FINE"}, {"status": ["DONE"]},
            {"name": 1}, {"cfg_hash": None}, {"more": 1},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_a_malformed_position_in_a_store_is_refused(taken_apart: tuple[Sim, str], path: Path, edit: Meta) -> None:
    sim, good = taken_apart
    meta, arrays = copied(*parts(Path(good)))
    path.write_bytes(forged({**meta, "store": STORE}, arrays))
    assert inspect_snapshot(path).store == StorePosition.from_json(STORE)
    path.write_bytes(forged({**meta, "store": {**STORE, **edit}}, arrays))
    refused(sim, path, "position in a store is malformed")


@pytest.mark.parametrize("key", STORE)
def test_a_position_in_a_store_has_all_its_keys(taken_apart: tuple[Sim, str], path: Path, key: str) -> None:
    sim, good = taken_apart
    meta, arrays = copied(*parts(Path(good)))
    path.write_bytes(forged({**meta, "store": {k: v for k, v in STORE.items() if k != key}}, arrays))
    refused(sim, path, "position in a store is malformed")


def test_a_store_has_columns_of_the_model_only(taken_apart: tuple[Sim, str], path: Path) -> None:
    _, good = taken_apart
    meta, arrays = copied(*parts(Path(good)))
    path.write_bytes(forged({**meta, "store": {**STORE, "columns": ["u[3]", "w", "s"]}}, arrays))
    assert dynlib.open_snapshot(path, jit=False).t == 2.07
    path.write_bytes(forged({**meta, "store": {**STORE, "columns": ["u[3]", "k"]}}, arrays))
    with pytest.raises(SnapshotFileError, match="columns that the model does not"):
        dynlib.open_snapshot(path, jit=False)


# -- forged bytes: what json, zip and npy readers may trip over -------------------------------------------------------


def raw_members(good: str) -> dict[str, bytes]:
    return members_of(*parts(Path(good)))


def nested_zip() -> bytes:
    """Members that lie inside one another: each claims the whole rest of the file as its content."""
    body, entries = npy(np.zeros(25_000)), []
    for k in reversed(range(60)):
        info = zipfile.ZipInfo(f"workspace/runtime/x{k:02d}.npy", (1980, 1, 1, 0, 0, 0))
        info.CRC, info.compress_size, info.file_size = zlib.crc32(body), len(body), len(body)
        body = info.FileHeader(zip64=False) + body
        entries.append((info, len(body)))
    directory = b""
    for info, to_end in entries:
        common = info.FileHeader(zip64=False)[4:30]
        directory += b"PK\x01\x02\x14\x03" + common + bytes(6) + (0o644 << 16).to_bytes(4, "little")
        directory += (len(body) - to_end).to_bytes(4, "little") + info.filename.encode()
    end = b"PK\x05\x06" + bytes(4) + len(entries).to_bytes(2, "little") * 2
    end += len(directory).to_bytes(4, "little") + len(body).to_bytes(4, "little") + bytes(2)
    return body + directory + end


BYTES: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "altered without digest": (lambda m: zipped({**m, "y.npy": npy(np.zeros(5))}), "digest does not agree"),
    "altered name without digest": (
        lambda m: zipped({**m, "meta.json": m["meta.json"].replace(b'"current"', b'"Current"')}),
        "digest does not agree",
    ),
    "no meta": (lambda m: zipped({k: v for k, v in m.items() if k != "meta.json"}), "meta.json is missing"),
    "member gone": (lambda m: zipped({k: v for k, v in m.items() if k != "y.npy"}), "list of arrays does not agree"),
    "compressed": (lambda m: zipped(m, zipfile.ZIP_DEFLATED), "compressed"),
    "bomb": (
        lambda m: zipped({**m, "workspace/runtime/x.npy": bytes(200 * 2**20)}, zipfile.ZIP_DEFLATED),
        "compressed",
    ),
    "bomb, lzma": (lambda m: zipped({**m, "y.npy": bytes(2**20)}, zipfile.ZIP_LZMA), "compressed"),
    "meta not json": (lambda m: zipped({**m, "meta.json": b"hello"}), "not strict JSON"),
    "meta empty": (lambda m: zipped({**m, "meta.json": b""}), "not strict JSON"),
    "meta not utf-8": (lambda m: zipped({**m, "meta.json": b"\xff\xfe{}"}), "not strict JSON"),
    "meta a list": (lambda m: zipped({**m, "meta.json": b"[]"}), "not an object"),
    "meta null": (lambda m: zipped({**m, "meta.json": b"null"}), "not an object"),
    "meta nested": (lambda m: zipped({**m, "meta.json": b"[" * 200_000}), "more than 40 levels"),
    "meta nested objects": (lambda m: zipped({**m, "meta.json": b'{"a":' * 99 + b"1" + b"}" * 99}), "more than 40"),
    "meta huge": (lambda m: zipped({**m, "meta.json": b" " * (65 * 2**20) + b"{}"}), "meta.json is too large"),
    "meta huge integer": (lambda m: zipped({**m, "meta.json": b'{"t": ' + b"9" * 100_000 + b"}"}), "not strict JSON"),
    "NaN in meta": (lambda m: zipped({**m, "meta.json": _t(m, b"NaN")}), "NaN is not JSON"),
    "Infinity in meta": (lambda m: zipped({**m, "meta.json": _t(m, b"Infinity")}), "Infinity is not JSON"),
    "overflow in meta": (lambda m: zipped({**m, "meta.json": _t(m, b"1e999")}), "1e999 is too great"),
    "key twice in meta": (lambda m: zipped({**m, "meta.json": _t(m, b'2.07, "t": 2.07')}), "a key is there twice"),
    "object array": (
        lambda m: zipped({**m, "y.npy": npy(np.array([{"a": 1}], dtype=object))}),
        "unexpected type, shape or length",
    ),
    "record array": (lambda m: zipped({**m, "y.npy": npy(np.zeros(5, "<f4,<f4"))}), "unexpected type, shape"),
    "huge shape": (lambda m: _y(m, "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}"), "length"),
    "shape beyond int64": (lambda m: _y(m, f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**70},)}}"), "'y"),
    "shape with a zero in front": (lambda m: _y(m, _shape("05")), "not a plain array"),
    "header with other filling": (lambda m: _y(m, _shape("5")[:-1] + "\t"), "not a plain array"),
    "header of another length": (lambda m: _y(m, _shape("5") + " " * 64), "not a plain array"),
    "negative shape": (lambda m: _y(m, "{'descr': '<f8', 'fortran_order': False, 'shape': (-5,)}"), "length"),
    "many dimensions": (lambda m: _y(m, "{'descr': '<f8', 'fortran_order': False, 'shape': (1,1,1,1,5)}"), "shape"),
    "shape no tuple": (lambda m: _y(m, "{'descr': '<f8', 'fortran_order': False, 'shape': 5}"), "plain array"),
    "zero-size type": (lambda m: _y(m, "{'descr': '|V0', 'fortran_order': False, 'shape': (99999999,)}"), "type"),
    "header empty": (lambda m: _y(m, ""), "not a plain array"),
    "header not closed": (lambda m: _y(m, "{'descr': ('<f8'"), "not a plain array"),
    "header a string without end": (lambda m: _y(m, "{'descr': '''<f8"), "not a plain array"),
    "header a call": (lambda m: _y(m, "__import__('os').system('true')"), "not a plain array"),
    "header nested": (lambda m: _y(m, "[" * 900), "not a plain array"),
    "header nested and closed": (lambda m: _y(m, "-" * 900 + "1"), "not a plain array"),
    "header of Python 2": (lambda m: _y(m, "{'descr': '<f8', 'fortran_order': False, 'shape': (5L,)}"), "not a plain"),
    "header too long": (lambda m: _y(m, "{" + " " * 5000 + "}"), "not a plain array"),
    "header with a control byte": (lambda m: _y(m, "{'descr': '<f8',\x00}"), "not a plain array"),
    "header odd keys": (lambda m: _y(m, "{1: 2, 'descr': 3}"), "not a plain array"),
    "type an empty tuple": (lambda m: _y(m, _descr("()")), "not a plain array"),
    "type a short tuple": (lambda m: _y(m, _descr("('<f8',)")), "not a plain array"),
    "type a tuple": (lambda m: _y(m, _descr("('<f8', (2, 2))")), "'y.npy'"),
    "type a number": (lambda m: _y(m, _descr("5")), "not a plain array"),
    "type a list": (lambda m: _y(m, _descr("[('a', '<f8'), ('a', '<f8')]")), "not a plain array"),
    "type a list of one": (lambda m: _y(m, _descr("[('a',)]")), "not a plain array"),
    "type a dict": (lambda m: _y(m, _descr("{'ab': 1}")), "'y.npy'"),
    "type none": (lambda m: _y(m, _descr("None")), "'y.npy'"),
    "type a huge text": (lambda m: _y(m, _descr("'<U999999999999'")), "'y.npy'"),
    "type with commas": (lambda m: _y(m, _descr("'f8,f8,(9999999,9999)f8'")), "'y.npy'"),
    "npy version 2": (lambda m: zipped({**m, "y.npy": m["y.npy"][:6] + b"\x02\x00" + m["y.npy"][8:]}), "plain array"),
    "npy cut": (lambda m: zipped({**m, "y.npy": m["y.npy"][:-8]}), "length"),
    "npy longer": (lambda m: zipped({**m, "y.npy": m["y.npy"] + bytes(8)}), "length"),
    "npy empty": (lambda m: zipped({**m, "y.npy": b""}), "plain array"),
    "npy magic only": (lambda m: zipped({**m, "y.npy": m["y.npy"][:9]}), "plain array"),
    "folder entry": (lambda m: zipped({**m, "workspace/": b""}), "unexpected member"),
    "name with newline": (lambda m: zipped({**m, "y.npy\n": b""}), "unexpected member"),
    "name in capitals": (lambda m: zipped({("Y.npy" if k == "y.npy" else k): v for k, v in m.items()}), "unexpected"),
    "nested members": (lambda m: nested_zip(), "overlap|damaged|longer than the file|meta.json"),
}


def _t(members: dict[str, bytes], value: bytes) -> bytes:
    return members["meta.json"].replace(b'"t": 2.07', b'"t": ' + value)


def _shape(text: str) -> str:
    return f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({text},), }}".ljust(116)


def _descr(text: str) -> str:
    return f"{{'descr': {text}, 'fortran_order': False, 'shape': (5,)}}"


def _y(members: dict[str, bytes], header: str) -> bytes:
    return zipped({**members, "y.npy": npy_header(header, bytes(40))})


@pytest.mark.parametrize("case", BYTES)
def test_forged_bytes(taken_apart: tuple[Sim, str], path: Path, case: str) -> None:
    sim, good = taken_apart
    make, reason = BYTES[case]
    path.write_bytes(make(raw_members(good)))
    refused(sim, path, reason)


def test_a_member_that_is_there_twice(taken_apart: tuple[Sim, str], path: Path) -> None:
    sim, good = taken_apart
    members = raw_members(good)
    for name in ("y.npy", "meta.json"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path.write_bytes(zipped([*members.items(), (name, members[name])]))
        refused(sim, path, f"member '{name}' is there twice")


def test_reading_never_allocates_much_more_than_the_file(taken_apart: tuple[Sim, str], path: Path) -> None:
    _, good = taken_apart
    members = raw_members(good)
    for case in ("bomb", "huge shape", "shape beyond int64", "nested members", "type with commas", "meta nested"):
        data = BYTES[case][0](members)
        path.write_bytes(data)
        tracemalloc.start()
        with pytest.raises(SnapshotFileError):
            inspect_snapshot(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * len(data) + 2**20, case


@pytest.mark.parametrize(
    "text",
    [b'{"a": "' + b'\\"' * 2**21, b"[" + b"[],{}," * 2**20 + b"1]", b'{"a": ' + b"9" * 2**22 + b"}", b"\\" * 2**22],
    ids=["a text without end", "very many values", "a very long number", "backslashes"],
)
def test_hostile_json_takes_time_and_memory_by_its_length_only(path: Path, text: bytes) -> None:
    path.write_bytes(zipped({"meta.json": text}))
    with deadline(10.0):
        tracemalloc.start()
        with pytest.raises(SnapshotFileError):
            inspect_snapshot(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(text)
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_META", 2000, "metadata (model, lineage, segments) take more than"),
        ("MAX_VALUES", 20, "more than 40 levels or 20 values"),
        ("MAX_DEPTH", 3, "more than 3 levels"),
        ("MAX_FILE", 5000, "in 24 members, more than a file may have"),
        ("MAX_MEMBERS", 20, "in 24 members, more than a file may have"),
    ],
)
def test_what_could_not_be_read_is_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, reason: str
) -> None:
    sim = used()
    sim.export_snapshot(path)
    before = path.read_bytes()
    monkeypatch.setattr(archive, limit, value)
    with unchanged(sim), pytest.raises(SnapshotError, match=re.escape(reason)):
        sim.export_snapshot(path)
    assert path.read_bytes() == before


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(snapshot_file.MAX_FILE + 1)
    tracemalloc.start()
    with pytest.raises(SnapshotFileError, match="larger than"):
        inspect_snapshot(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_random_garbage_in_every_member(taken_apart: tuple[Sim, str], path: Path) -> None:
    """Random edits with right checksums: nothing but the one error ever comes out."""
    sim, good = taken_apart
    members = raw_members(good)
    rng = random.Random(3)
    before = sim.state
    for _ in range(400):
        name = rng.choice(["meta.json", "y.npy", "stepper_config.npy", f"{RUNTIME}/n.npy"])
        data = bytearray(members[name])
        for _ in range(rng.choice([1, 1, 2, 5])):
            spot = rng.randrange(min(len(data), 1000 if name == "meta.json" else 140))
            match rng.randrange(3):
                case 0:
                    data[spot] = rng.choice(b"{}[]()'\",:0129-eE.tfn \n\\\x00\xff")
                case 1:
                    del data[spot : spot + rng.randrange(1, 9)]
                case _:
                    data[spot:spot] = rng.choice([b"9" * 400, b"[", b"{", b"(", b"'", b"\\u0000", b"1e400", b"L"])
        path.write_bytes(zipped({**members, name: bytes(data)}))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                sim.import_snapshot(path)
            except SnapshotFileError:
                continue
        assert sim.state.same_bits(before)


# -- pins ------------------------------------------------------------------------------------------------------------


def other_sessions() -> dict[str, tuple[Sim, str]]:
    """For each pin, a session that differs, and the value it shows."""
    return {
        "structure": (Sim(dynlib.build(_other_ring(), stepper="rk4", dt=0.05, jit=False)), ""),
        "stepper": (ring("euler"), "'euler'"),
        "dtype": (ring("rk4", "float32"), "'float32'"),
        "math": (Sim(dynlib.build(ring_model(), stepper="rk4", dt=0.05, jit=False, math="contract")), "'contract'"),
    }


def _other_ring() -> dynlib.Model:
    from session.kit import RING_EVENTS

    return dynlib.ode_model(
        "ring",
        states={"u": [0.1, 0.2, 0.3, 0.4], "w": 0.5},
        params={"g": [1.0, 2.0], "k": 0.15},
        equations="du[i] = w - g[1]*u[i] + 0.1*lag_w(2)\ndw = k - w*u[0]",
        aux={"s": "u[0] + u[1]"},
        events=RING_EVENTS,
    )


@pytest.mark.parametrize("pin", ["structure", "stepper", "dtype", "math"])
def test_a_file_of_another_build_names_the_pin_and_both_values(path: Path, pin: str) -> None:
    sim = used("rk4")
    sim.export_snapshot(path)
    other, shown = other_sessions()[pin]
    other.run(T=1.0)
    here, there = getattr(other.full_model.pins, pin), getattr(sim.full_model.pins, pin)
    with unchanged(other), pytest.raises(PinMismatchError) as caught:
        other.import_snapshot(path)
    message = str(caught.value)
    assert f"{pin}: this session has {here[:16]!r}, the state has {there[:16]!r}" in message
    assert shown in message
    assert not isinstance(caught.value, SnapshotFileError)


def test_the_workspace_pin(path: Path) -> None:
    sim = used("rk4")
    sim.export_snapshot(path)
    meta, arrays = parts(path)
    meta["pins"]["workspace"] = "0123456789abcdef"
    path.write_bytes(forged(meta, arrays))
    with unchanged(sim), pytest.raises(PinMismatchError, match="workspace: .* the state has '0123456789abcdef'"):
        sim.import_snapshot(path)


@pytest.fixture
def of_revision(path: Path) -> Callable[[int], Path]:
    def make(revision: int) -> Path:
        sim = used("rk4")
        sim.export_snapshot(path)
        meta, arrays = parts(path)
        meta["pins"]["numerics_revision"] = revision
        path.write_bytes(forged(meta, arrays))
        return path

    return make


def test_another_numerics_revision_is_refused_unless_accepted(of_revision: Callable[[int], Path]) -> None:
    path = of_revision(99)
    sim, other = used("rk4"), ring("rk4")
    with unchanged(other), pytest.raises(PinMismatchError, match="numerics_revision: .* has 1, the state has 99"):
        other.import_snapshot(path)
    meta = other.import_snapshot(path, accept=("numerics_revision",))
    assert meta.pins.numerics_revision == 99
    assert other.state.same_bits(sim.state)
    assert other.can_resume() == (True, None)
    other.run(T=3.0, resume=True)


def test_only_the_numerics_revision_can_be_accepted(of_revision: Callable[[int], Path]) -> None:
    path = of_revision(1)
    for pin in ("stepper", "structure", "dtype", "numerics_revison"):
        other = ring("euler")
        with unchanged(other), pytest.raises(UnknownNameError, match="pin to accept"):
            other.import_snapshot(path, accept=(pin,))


def test_accepting_the_revision_accepts_nothing_else(of_revision: Callable[[int], Path]) -> None:
    other = ring("euler")
    with unchanged(other), pytest.raises(PinMismatchError, match="stepper"):
        other.import_snapshot(of_revision(99), accept=("numerics_revision",))


def test_another_library_version_of_the_same_revision_is_compatible(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_model_module, "VERSION", "7.8.9")
    newer = Sim(dynlib.build(ring_model(), stepper="rk4", dt=0.05, jit=False))
    newer.run(T=2.0)
    newer.export_snapshot(path)
    monkeypatch.undo()
    sim = ring("rk4")
    assert sim.import_snapshot(path).pins.library_version == "7.8.9"
    assert sim.state.same_bits(newer.state)
    assert sim.can_resume() == (True, None)


def test_spelling_and_values_do_not_make_another_model(path: Path) -> None:
    """`-a*x` and `-a * x`, another initial value or parameter: the same system."""
    first = dynlib.ode_model("m", states={"x": 1.0}, params={"a": 1.0}, equations={"x": "-a*x"})
    second = dynlib.ode_model("n", states={"x": 2.0}, params={"a": 3.0}, equations={"x": "  - a  *  x "})
    sims = [dynlib.setup(m, stepper="rk4", dt=0.1, jit=False) for m in (first, second)]
    sims[0].run(T=1.0)
    sims[0].export_snapshot(path)
    sims[1].import_snapshot(path)
    assert sims[1].state.same_bits(sims[0].state)
    third = dynlib.ode_model("m", states={"x": 1.0}, params={"a": 1.0}, equations={"x": "-a*x*x"})
    with pytest.raises(PinMismatchError, match="structure"):
        dynlib.setup(third, stepper="rk4", dt=0.1, jit=False).import_snapshot(path)


# -- reading a good file ---------------------------------------------------------------------------------------------


def test_inspect_needs_no_session_and_touches_none(path: Path) -> None:
    sim = used()
    sim.export_snapshot(path, source="snapshot", name="kept")
    with unchanged(sim):
        meta = sim.inspect_snapshot(path)
    assert meta == inspect_snapshot(str(path))
    assert (meta.name, meta.t, meta.schema_version, meta.model) == ("kept", 1.03, 3, "ring")


def test_inspect_refuses_what_import_would_refuse(path: Path) -> None:
    used().export_snapshot(path)
    meta, arrays = parts(path)
    members = {**members_of(meta, arrays), "y.npy": npy(np.zeros(5))}
    path.write_bytes(zipped(members))
    with pytest.raises(SnapshotFileError, match="digest"):
        inspect_snapshot(path)


def test_import_replaces_everything_that_belongs_to_the_session_before(path: Path) -> None:
    sim = used("rk4")
    sim.export_snapshot(path)
    other = ring("rk4")
    other.run(T=9.0, t0=4.0, dt=0.02, record_vars=["w"], record_interval=7, tag="old")
    other.create_snapshot("mine")
    other.import_snapshot(path)
    assert other.state.same_bits(sim.state)
    assert len(other.results()) == 0
    assert other.results().segments == ()
    assert [s["name"] for s in other.list_snapshots()] == ["initial", "mine"]
    other.run(T=3.0, resume=True, record_vars=["s"])
    assert other.results().columns == ("s",)
    assert [s.name for s in other.results().segments] == ["run#0"]


def test_an_imported_file_may_be_changed_or_removed(path: Path) -> None:
    sim = used("rk4")
    sim.export_snapshot(path)
    other = ring("rk4")
    other.import_snapshot(path)
    path.write_bytes(b"")
    path.unlink()
    sim.run(T=4.0, resume=True)
    other.run(T=4.0, resume=True)
    assert other.state.same_bits(sim.state)


def test_importing_twice_gives_the_same_twice(path: Path) -> None:
    sim = used("rk45")
    sim.export_snapshot(path)
    ends = []
    for _ in range(2):
        sim.import_snapshot(path)
        sim.run(T=5.0, resume=True)
        ends.append(sim.state)
    assert ends[0].same_bits(ends[1])


def test_a_file_written_by_another_process_is_read_to_the_same_bits(path: Path) -> None:
    script = (
        "import sys\nsys.path[:0] = [sys.argv[1]]\nfrom session.kit import ring\n"
        "sim = ring('ab3')\nsim.run(T=1.03)\nsim.export_snapshot(sys.argv[2])\n"
    )
    folder = str(Path(__file__).parent.parent)
    subprocess.run([sys.executable, "-c", script, folder, str(path)], check=True)
    here, there = ring("ab3"), ring("ab3")
    here.run(T=1.03)
    there.import_snapshot(path)
    assert there.state.same_bits(here.state)


def test_neuron_files_are_small(path: Path) -> None:
    """A file holds the state and nothing of the recording."""
    sim = neuron()
    sim.run(T=1.0)
    sim.export_snapshot(path)
    small = path.stat().st_size
    sim.run(T=300.0, resume=True)
    sim.export_snapshot(path)
    assert abs(path.stat().st_size - small) < 64


def test_digest_is_over_metadata_too(path: Path) -> None:
    used().export_snapshot(path)
    meta, arrays = parts(path)
    for key in ("created", "description", "model", "status"):
        edited = {**meta, key: "DONE" if meta[key] != "DONE" else "STOPPED"}
        path.write_bytes(zipped({**members_of(meta, arrays), "meta.json": json_bytes(edited)}))
        with pytest.raises(SnapshotFileError, match="digest"):
            inspect_snapshot(path)
