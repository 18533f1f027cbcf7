"""Every exporter: what is read back is equal to the bit, from memory and from a run directory."""

from __future__ import annotations

import csv
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5netcdf
import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray
import zarr

import dynlib
from dynlib import ConfigError, DynlibError, Results, ResultsView, Segment, ode_model
from dynlib.results import EventLog
from dynlib.results.export import export_results
from dynlib.results.formats import EXPORTERS, FORMATS, Format, format_named
from dynlib.results.recorded import InMemory, Recorded

Arrays = dict[str, np.ndarray]
ODD = (-0.0, 0.0, 0.1, 1 / 3, 1e-5, 1e16, 123456789.125)
NAMES = ("x", "step", "u[1]", "u[2]", "at_stop", "file")


def extreme(dtype: str, rows: int = 2000, columns: tuple[str, ...] = NAMES) -> Results:
    """Results with names that collide, and numbers that text and compression like to lose."""
    info = np.finfo(dtype)
    odd = np.array([*ODD, info.tiny, info.smallest_subnormal, info.max, -info.max], dtype)
    t = np.nextafter(np.arange(rows) * 0.1, np.inf)
    half = rows // 2
    event = np.arange(half, dtype=np.int32) % 2 * 2
    values = np.resize(np.array([*odd, np.inf, np.nan], dtype), (half, 2))
    values[event == 2, 1] = np.nan
    labels = (("t", "x"), (), ("x",))
    log = EventLog(("kick", "quiet", "seen"), labels, ((),) * 3, t[:half].copy(), np.arange(half) * 2, event, values)
    segment = Segment("a", 0.0, float(rows), 0, rows, False, "c", "DONE", (0, rows), (0, half))
    data = np.resize(odd, (rows, len(columns)))
    return Results(columns, t, np.arange(rows) + 2**53, np.arange(rows) % 7 == 3, data, (segment,), log, "odd")


def content(recorded: Recorded) -> tuple[Arrays, dict[str, Arrays]]:
    """Samples by name, and log entries by event and label; `own t` and `own step` are those of the entries."""
    clock = [np.concatenate(part) for part in zip(*recorded.clock(), strict=True)]
    data = np.concatenate(list(recorded.values(range(len(recorded.columns)))))
    own = ("t", *(f"{n}_" if n in recorded.columns else n for n in ("step", "at_stop")))
    samples = dict(zip(own, clock, strict=True)) | {n: data[:, k] for k, n in enumerate(recorded.columns)}
    t, step, event, values = [np.concatenate(part) for part in zip(*recorded.log(), strict=True)]
    entries = {}
    for k, (name, labels) in enumerate(recorded.events):
        here = event == k
        if labels:
            entries[name] = {"own t": t[here], "own step": step[here]}
            entries[name] |= {label: values[here, j] for j, label in enumerate(labels)}
    return samples, entries


def read_csv(path: Path, r: Recorded) -> tuple[Arrays, dict[str, Arrays]]:
    kinds: dict[str, type] = {"t": np.float64, "step": np.int64, "step_": np.int64}
    kinds |= dict.fromkeys(r.columns, r.dtype.type)

    def table(file: Path) -> dict[str, tuple[str, ...]]:
        with file.open(newline="") as text:
            head, *rows = csv.reader(text)
        return dict(zip(head, zip(*rows, strict=True), strict=True))

    def numbers(cells: tuple[str, ...], kind: type) -> np.ndarray:
        found = np.array([kind(c) for c in cells], kind)
        shown = found.tolist() if kind is not np.float32 else found
        assert [str(v) for v in shown] == list(cells)  # no digit more than it takes
        return found

    samples = {name: numbers(cells, kinds[name]) for name, cells in table(path).items()}
    log = table(path.with_name(f"{path.stem}.events.csv"))
    entries: dict[str, Arrays] = {}
    for name, labels in r.events:
        for label in labels:
            cells = tuple(c for c, e in zip(log[f"{name}.{label}"], log["event"], strict=True) if e == name)
            entries.setdefault(name, {})[label] = numbers(cells, r.dtype.type)
            others = {c for c, e in zip(log[f"{name}.{label}"], log["event"], strict=True) if e != name}
            assert others <= {""}
        for label, kind in (("t", np.float64), ("step", np.int64)):
            if labels:
                cells = tuple(c for c, e in zip(log[label], log["event"], strict=True) if e == name)
                entries[name][f"own {label}"] = numbers(cells, kind)
    return samples, entries


def read_npz(path: Path, r: Recorded) -> tuple[Arrays, dict[str, Arrays]]:
    samples: Arrays = {}
    entries: dict[str, Arrays] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name, array in arrays.items():
            if name.startswith("event/"):
                _, event, label = name.split("/")
                own = label not in dict(r.events)[event]
                entries.setdefault(event, {})[f"own {label}" if own else label] = array
            elif "/" in name:
                continue  # the whole log and the header, which `load_results` reads
            elif array.ndim == 2:
                columns = [c for c in r.columns if c.startswith(f"{name}[")]
                samples |= {c: array[:, k] for k, c in enumerate(columns)}
            else:
                samples[name] = array
    return samples, entries


def read_netcdf(path: Path, r: Recorded) -> tuple[Arrays, dict[str, Arrays]]:
    samples: Arrays = {}
    with h5netcdf.File(path) as file:
        assert file.attrs["model"] == r.model_name
        assert [s["name"] for s in json.loads(file.attrs["segments"])] == [s.name for s in r.segments]
        for name, variable in file.variables.items():
            if len(variable.shape) == 2:
                for k, element in enumerate(file.variables[variable.dimensions[1]][:]):
                    samples[f"{name}[{element}]"] = variable[:, k]
            elif variable.dimensions == ("t",):
                flag = variable.attrs.get("dtype") == "bool"
                samples[name] = variable[:].astype(bool) if flag else variable[:]
        group = file["events"]
        event, labels = group["event"][:], json.loads(group.attrs["values"])
        entries = {}
        for k, name in enumerate(group["event"].attrs["flag_meanings"].split()):
            here = event == k
            entries[name] = {"own t": group["t"][:][here], "own step": group["step"][:][here]}
            entries[name] |= {label: group["values"][:][here, j] for j, label in enumerate(labels[name])}
    return samples, {name: logged for name, logged in entries.items() if labels[name]}


def read_zarr(path: Path, r: Recorded) -> tuple[Arrays, dict[str, Arrays]]:
    samples: Arrays = {}
    group = zarr.open_group(path, mode="r")
    assert group.attrs["model"] == r.model_name
    for name, array in group.arrays():
        dimensions = array.metadata.dimension_names
        if len(array.shape) == 2:
            samples |= {f"{name}[{e}]": array[:, k] for k, e in enumerate(group[dimensions[1]][:])}
        elif dimensions == ("t",):
            samples[name] = array[:]
    log = group["events"]
    event, labels = log["event"][:], json.loads(log.attrs["values"])
    entries = {}
    for k, (name, logged) in enumerate(labels.items()):
        here = event == k
        entries[name] = {"own t": log["t"][:][here], "own step": log["step"][:][here]}
        entries[name] |= {label: log["values"][:][here, j] for j, label in enumerate(logged)}
    return samples, {name: found for name, found in entries.items() if labels[name]}


def read_parquet(path: Path, r: Recorded) -> tuple[Arrays, dict[str, Arrays]]:
    table, log = pq.read_table(path), pq.read_table(path.with_name(f"{path.stem}.events.parquet"))
    assert table.schema.metadata[b"model"] == r.model_name.encode()
    samples = {name: table[name].to_numpy() for name in table.column_names}
    event = np.array(log["event"].to_pylist())
    entries: dict[str, Arrays] = {}
    for name, labels in r.events:
        here = event == name
        for label in labels:
            column = log[f"{name}.{label}"].combine_chunks()
            assert np.array_equal(np.array(column.is_valid()), here)
            entries.setdefault(name, {})[label] = column.drop_null().to_numpy()
        if labels:
            entries[name] |= {f"own {n}": log[n].to_numpy()[here] for n in ("t", "step")}
    return samples, entries


READERS: dict[str, Callable[[Path, Recorded], tuple[Arrays, dict[str, Arrays]]]] = {
    "csv": read_csv,
    "npz": read_npz,
    "netcdf": read_netcdf,
    "zarr": read_zarr,
    "parquet": read_parquet,
}
OMITTED = {"csv": {"at_stop", "at_stop_"}, "npz": {"own t"}}
"""What a format leaves out; in `npz` a label `t` stands in place of the entry's own time."""


def check(form: str, path: Path, recorded: Recorded) -> None:
    """A file holds exactly what was recorded."""

    def same(found: Arrays, wanted: Arrays) -> None:
        missing = set(wanted) - set(found)
        assert missing <= OMITTED.get(form, set()) - set(recorded.columns)
        assert set(found) <= set(wanted)
        for name, array in found.items():
            assert array.dtype == wanted[name].dtype, name
            assert np.ascontiguousarray(array).tobytes() == np.ascontiguousarray(wanted[name]).tobytes(), name

    (samples, entries), (wanted, log) = READERS[form](path, recorded), content(recorded)
    same(samples, wanted)
    assert set(entries) == set(log)
    for name, logged in log.items():
        same(entries[name], logged)


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_results_in_memory_come_back_to_the_bit(form: Format, dtype: str, tmp_path: Path) -> None:
    recorded = InMemory(extreme(dtype))
    path = tmp_path / f"r{form.suffix}"
    written = export_results(ResultsView(extreme(dtype)), path)
    check(form.name, path, recorded)
    assert sorted(written) == sorted(tmp_path.iterdir())  # nothing is left behind


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dynlib.StoredRun:
    """A run in a directory with array states (one recorded whole, one in part), events, and several chunks."""
    model = ode_model(
        "pair", states={"x": 1.0, "u": [1.0, 2.0, 3.0], "w": [0.5, 0.25]},
        equations="dx = -x\ndu[i] = -u[i]\ndw[i] = 0.1*cos(t + i)",
        events={
            "low": {"cond": "sin(40*t) > 0", "log": ["t", "x"]},
            "mute": {"cond": "x < 0"},
            "high": {"cond": "x > 0.9", "log": ["x"]},
        },
        dtype="float32",
    )  # fmt: skip
    sim = dynlib.setup(model, stepper="rk4", dt=0.01, jit=False)
    folder = tmp_path_factory.mktemp("run") / "stored"
    wanted = ["w[1]", "u", "x"]
    with pytest.MonkeyPatch.context() as small:
        small.setattr("dynlib.session.table.CHUNK_BYTES", 2**12)
        sim.run(T=3.005, store=folder, record_vars=wanted, tag="a")
        sim.run(T=6.0, resume=True)
        run = dynlib.open_run(folder)
    assert len(list((folder / "samples.zarr" / "t" / "c").iterdir())) > 3
    assert run.results().raw.data.tobytes() == sim.results().raw.data.tobytes()
    return run


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_run_directories_come_back_to_the_bit(form: Format, stored: dynlib.StoredRun, tmp_path: Path) -> None:
    path = tmp_path / f"r{form.suffix}"
    export_results(stored.recorded(), path)
    check(form.name, path, stored.recorded())
    check(form.name, path, InMemory(stored.results().raw))


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_nothing_recorded_is_an_empty_file(form: Format, tmp_path: Path) -> None:
    empty = ResultsView(extreme("float64", rows=0))
    path = tmp_path / f"r{form.suffix}"
    export_results(empty, path)
    if form.name == "csv":
        assert path.read_text().splitlines() == ["t,step_,x,step,u[1],u[2],at_stop,file"]
    elif form.name == "npz":
        with np.load(path) as arrays:
            assert arrays["u"].shape == (0, 2)
    elif form.name == "parquet":
        assert pq.read_table(path).num_rows == 0
    elif form.name == "zarr":
        assert zarr.open_group(path, mode="r")["u"].shape == (0, 2)
    else:
        assert xarray.open_dataset(path, engine="h5netcdf").sizes == {"t": 0, "u_index": 2}


def test_xarray_opens_netcdf(tmp_path: Path) -> None:
    results = extreme("float64")
    export_results(ResultsView(results), tmp_path / "r.nc")
    with xarray.open_datatree(tmp_path / "r.nc", engine="h5netcdf") as tree:
        assert tree["x"].sel(t=results.t[5]).item() == results.data[5, 0]
        assert tree["at_stop_"].dtype == bool
        assert tree["u"].sel(u_index=2).values.tobytes() == results.data[:, 3].tobytes()
        assert tree["events/values"].shape == (1000, 2)


@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.name)
def test_a_long_recording_takes_no_more_memory_than_a_short_one(form: Format, tmp_path: Path) -> None:
    """Blocks are written as they come, so that the peak does not grow with the number of samples."""

    class Endless(InMemory):
        """The same block again and again."""

        def __init__(self, times: int) -> None:
            super().__init__(extreme("float64", rows=2**9))
            self.times = times
            self.rows, self.entries = self.rows * times, self.entries * times

        def clock(self):
            return (part for _ in range(self.times) for part in super(Endless, self).clock())

        def values(self, which):
            return (part for _ in range(self.times) for part in super(Endless, self).values(which))

        def log(self):
            return (part for _ in range(self.times) for part in super(Endless, self).log())

    def peak(times: int) -> int:
        recorded = Endless(times)
        tracemalloc.start()
        export_results(recorded, tmp_path / f"r{form.suffix}", form)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(1)
    short, long = peak(2), peak(18)
    assert long < short + 2**17 < short + 16 * 8 * 2**9 * len(NAMES) // 2


def test_a_failed_export_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("before")

    class Broken(InMemory):
        def values(self, which):
            yield from list(super().values(which))[:1]
            raise OSError(28, "No space left on device")

    with pytest.raises(DynlibError, match="cannot write .*r.csv: No space left") as caught:
        export_results(Broken(extreme("float64")), path)
    assert caught.value.of_the_disk
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]
    assert path.read_text() == "before"
    with pytest.raises(DynlibError, match="cannot write"):
        export_results(ResultsView(extreme("float64")), tmp_path / "nowhere" / "r.csv")


def test_formats_by_name_and_suffix(tmp_path: Path) -> None:
    assert {f.name for f in FORMATS} == set(READERS)
    assert [EXPORTERS[f.suffix] for f in FORMATS] == list(FORMATS)
    with pytest.raises(ConfigError, match="did you mean 'netcdf'"):
        format_named("netcfd")
    with pytest.raises(ConfigError, match="format of results '.xyz'"):
        export_results(ResultsView(extreme("float64")), tmp_path / "r.xyz")


@pytest.mark.parametrize(("package", "suffix"), [("h5netcdf", ".nc"), ("h5py", ".nc"), ("pyarrow", ".parquet")])
def test_a_missing_package_is_named(package: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DynlibError, match=rf"{package}.*pip install 'dynlib\[") as caught:
        export_results(ResultsView(extreme("float64")), tmp_path / f"r{suffix}")
    assert not caught.value.of_the_disk
