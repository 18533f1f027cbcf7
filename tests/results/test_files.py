"""Files of results: what is loaded is what was saved, to the last bit, and nothing else is loaded."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import dynlib
from dynlib import ConfigError, DynlibError, ExportError, Results, ResultsFileError, ResultsView, Segment, Sim
from dynlib.results import EventLog
from dynlib.results.export import export_results
from dynlib.results.formats import FORMATS, Format

WHOLE = [form for form in FORMATS if form.read is not None]
each_format = pytest.mark.parametrize("form", WHOLE, ids=lambda form: form.name)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def bits(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype, array.shape, np.ascontiguousarray(array).tobytes()


def assert_same(found: Results, wanted: Results) -> None:
    for name in ("t", "step", "at_stop", "data"):
        assert bits(getattr(found, name)) == bits(getattr(wanted, name)), name
        assert not getattr(found, name).flags.writeable
    for name in ("t", "step", "event", "values"):
        assert bits(getattr(found.log, name)) == bits(getattr(wanted.log, name)), name
    for name in ("columns", "segments", "model_name"):
        assert getattr(found, name) == getattr(wanted, name)
    for name in ("names", "columns", "tags"):
        assert getattr(found.log, name) == getattr(wanted.log, name)


@st.composite
def contents(draw: st.DrawFn) -> Results:
    """Results of any shape, with numbers of any bits."""
    dtype = np.dtype(draw(st.sampled_from(["float64", "float32"])))
    rows, entries = draw(st.integers(0, 5)), draw(st.integers(0, 5))

    def numbers(kind: np.dtype[Any], *shape: int) -> np.ndarray:
        size = int(np.prod(shape)) * kind.itemsize
        odd = st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 0.1]).map(lambda x: np.array(x, kind).tobytes())
        cell = st.binary(min_size=kind.itemsize, max_size=kind.itemsize)
        cell = odd | cell if kind.kind == "f" else cell
        parts = draw(st.lists(cell, min_size=size // kind.itemsize, max_size=size // kind.itemsize))
        return np.frombuffer(b"".join(parts), kind).reshape(shape).copy()

    choice = [("x",), (), ("step", "at_stop", "u[0]", "u[1]"), ("w[3]", "events", "log", "dynlib_results", "w[1]")]
    columns = draw(st.sampled_from(choice))
    labels = draw(st.sampled_from([(), ((),), (("t", "x"), (), ("x",)), (("x",), ("step", "y", "z"))]))
    logging = [k for k, of_event in enumerate(labels) if of_event]
    entries = entries if logging else 0
    event = np.array([draw(st.sampled_from(logging)) for _ in range(entries)], np.int32)
    depth = max((len(of_event) for of_event in labels), default=0)
    values = numbers(dtype, entries, depth)
    for k, of_event in enumerate(labels):
        values[event == k, len(of_event) :] = np.nan
    names = tuple(f"e{k}" for k in range(len(labels)))
    tags = tuple(tuple(draw(st.lists(TEXT, max_size=2))) for _ in labels)
    f8, i8 = np.dtype("float64"), np.dtype("int64")
    log = EventLog(names, labels, tags, numbers(f8, entries), numbers(i8, entries), event, values)
    middle, cut = draw(st.integers(0, rows)), draw(st.integers(0, entries))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    segments = tuple(
        Segment(draw(TEXT), draw(finite), draw(finite), 3, 2**53, draw(st.booleans()), "c", "DONE", *spans)
        for spans in (((0, middle), (0, cut)), ((middle, rows), (cut, entries)))
    )
    at_stop = np.array([draw(st.booleans()) for _ in range(rows)], bool)
    return Results(columns, numbers(f8, rows), numbers(i8, rows), at_stop, numbers(dtype, rows, len(columns)), segments,
                   log, draw(TEXT.filter(lambda text: "\0" not in text)))  # fmt: skip


@each_format
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=contents())
def test_what_is_loaded_is_what_was_saved(form: Format, tmp_path: Path, wanted: Results) -> None:
    path = tmp_path / f"r{form.suffix}"
    assert ResultsView(wanted).save(path)[0] == path
    assert_same(dynlib.load_results(path).raw, wanted)


@pytest.fixture(name="sim", scope="module")
def _sim() -> Sim:
    model = dynlib.ode_model(
        "ring", states={"u": [0.1, 0.2, 0.3], "x": 1.0}, equations={"u[i]": "u[(i + 1) % 3] - u[i]", "x": "cos(3*t)"},
        events={"up": {"cond": "cross_up(x, 1.1)", "log": ["x"], "tags": ["way"]},
                "down": {"cond": "cross_down(x, 1.1)", "log": ["x", "t"], "tags": ["way"]}},
    )  # fmt: skip
    sim = dynlib.setup(model, stepper="rk4", dt=0.125, jit=False)
    sim.run(T=4.0, tag="first")
    sim.run(T=8.0, resume=True, tag="zweites, größeres 段")
    return sim


@each_format
def test_a_run_comes_back_with_segments_events_and_tags(form: Format, sim: Sim, tmp_path: Path) -> None:
    res = sim.results()
    written = res.save(tmp_path / f"r{form.suffix}")
    assert sorted(written) == sorted(tmp_path.iterdir())
    again = dynlib.load_results(written[0])
    assert_same(again.raw, res.raw)
    assert len(res.event(tag="way")) > 2
    assert again.event(tag="way").t.tolist() == res.event(tag="way").t.tolist()
    with pytest.raises(DynlibError, match="without their session"):
        again.at(1.0)


@each_format
def test_an_exported_run_directory_can_be_loaded(form: Format, sim: Sim, tmp_path: Path) -> None:
    other = dynlib.setup(sim.full_model.model, stepper="rk4", dt=0.125, jit=False)
    other.run(T=4.0, tag="first", store=tmp_path / "run")
    export_results(dynlib.open_run(tmp_path / "run").recorded(), tmp_path / f"r{form.suffix}")
    assert_same(dynlib.load_results(tmp_path / f"r{form.suffix}").raw, other.raw_results())


@each_format
def test_no_damage_passes(form: Format, sim: Sim, tmp_path: Path) -> None:
    """A changed byte is refused, or it lies where no content is: then what is loaded is what was saved."""
    files = sim.results().save(tmp_path / f"r{form.suffix}")
    refused = 0
    for file in (part for path in files for part in ([path] if path.is_file() else sorted(path.rglob("*")))):
        if file.is_dir():
            continue
        whole = file.read_bytes()
        rng = np.random.default_rng(7)
        for at in rng.integers(0, len(whole), 30).tolist():
            file.write_bytes(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1 :])
            try:
                assert_same(dynlib.load_results(files[0]).raw, sim.raw_results())
            except ResultsFileError:
                refused += 1
        for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            if form.folder:  # a file of it may hold no content, or be shorter than that
                try:
                    assert_same(dynlib.load_results(files[0]).raw, sim.raw_results())
                except ResultsFileError:
                    refused += 1
                continue
            with pytest.raises(ResultsFileError, match="holds no whole results"):
                dynlib.load_results(files[0])
        file.write_bytes(whole)
    assert refused > 10
    assert_same(dynlib.load_results(files[0]).raw, sim.raw_results())


@each_format
def test_files_of_other_content_and_no_files_are_refused(form: Format, tmp_path: Path) -> None:
    path = tmp_path / f"r{form.suffix}"
    with pytest.raises(ResultsFileError, match="there is no file"):
        dynlib.load_results(path)
    path.write_bytes(b"something else")
    with pytest.raises(ResultsFileError, match="no whole results"):
        dynlib.load_results(path)


@each_format
def test_memory_is_bounded_before_anything_is_read(form: Format, sim: Sim, tmp_path: Path) -> None:
    path = tmp_path / f"r{form.suffix}"
    sim.results().save(path)
    with pytest.raises(ResultsFileError, match=r"most_bytes=\d+ would allow that") as caught:
        dynlib.load_results(path, most_bytes=1000)
    needed = int(str(caught.value).split("most_bytes=")[1].split()[0])
    assert len(dynlib.load_results(path, most_bytes=needed)) == len(sim.results())


def test_no_pickle_is_opened(sim: Sim, tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    sim.results().save(path)
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **{**content, "x": np.array([print], object)})
    with pytest.raises(ResultsFileError):
        dynlib.load_results(path)


def test_a_folder_of_something_else_is_not_replaced(sim: Sim, tmp_path: Path) -> None:
    path = tmp_path / "r.zarr"
    path.mkdir()
    (path / "mine.txt").write_text("keep this")
    with pytest.raises(ExportError, match="a folder of something else"):
        sim.results().save(path)
    assert (path / "mine.txt").read_text() == "keep this"
    (path / "mine.txt").unlink()
    path.rmdir()
    sim.results().save(path)
    sim.results().between(0.0, 1.0).save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert_same(dynlib.load_results(path).raw, sim.results().between(0.0, 1.0).raw)


def test_a_zarr_group_opens_in_xarray_and_other_codecs_are_refused(sim: Sim, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    path = tmp_path / "r.zarr"
    sim.results().save(path)
    with xarray.open_zarr(path, consolidated=False) as found:
        assert found["x"].values.tobytes() == sim.results()["x"].tobytes()
        assert found["u"].dims == ("t", "u_index")
    about = path / "x" / "zarr.json"
    document = json.loads(about.read_text())
    for codecs in ([{"name": "bytes"}, {"name": "zstd"}], [{"name": "numcodecs.pickle"}], []):
        about.write_text(json.dumps({**document, "codecs": codecs}))
        with pytest.raises(ResultsFileError, match="is not what the header says"):
            dynlib.load_results(path)
    about.unlink()
    about.symlink_to("/dev/zero")
    with pytest.raises(ResultsFileError, match="is no file"):
        dynlib.load_results(path)


def test_a_log_of_other_results_is_noticed(sim: Sim, tmp_path: Path) -> None:
    path, log = sim.results().save(tmp_path / "r.parquet")
    other = replace(sim.raw_results().log, t=sim.raw_results().log.t + 1.0)
    ResultsView(replace(sim.raw_results(), log=other)).save(tmp_path / "o.parquet")
    (tmp_path / "o.events.parquet").replace(log)
    with pytest.raises(ResultsFileError, match=r"do not belong together \(in log_t\)"):
        dynlib.load_results(path)
    log.unlink()
    with pytest.raises(ResultsFileError):
        dynlib.load_results(path)
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    with pytest.raises(ResultsFileError, match="not written by this library"):
        dynlib.load_results(path)


def test_a_snapshot_file_names_who_reads_it(sim: Sim, tmp_path: Path) -> None:
    sim.export_snapshot(tmp_path / "s.npz", results=True)
    with pytest.raises(ResultsFileError, match=r"snapshot file; read_results\(\)"):
        dynlib.load_results(tmp_path / "s.npz")


def test_compressed_members_are_refused(sim: Sim, tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    sim.results().save(path)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "c.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(ResultsFileError, match="is compressed"):
        dynlib.load_results(tmp_path / "c.npz")


def test_suffixes_are_suggested_and_formats_that_lose_something_refused(sim: Sim, tmp_path: Path) -> None:
    for suffix, near in ((".netcdf", ".nc"), (".pq", ".parquet"), (".NPZ", ".npz"), (".parqet", ".parquet")):
        with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
            sim.results().save(tmp_path / f"r{suffix}")
        with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
            dynlib.load_results(tmp_path / f"r{suffix}")
    for call in (sim.results().save, dynlib.load_results):
        with pytest.raises(ConfigError, match=r"csv file does not hold all .*take .npz, .nc, .zarr, .parquet"):
            call(tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "suffix"), [("h5netcdf", ".nc"), ("h5py", ".nc"), ("zarr", ".zarr"), ("pyarrow", ".parquet")]
)
def test_a_missing_package_is_named_when_loading(
    package: str, suffix: str, sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.results().save(tmp_path / f"r{suffix}")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=rf"{package}.*pip install 'dynlib\["):
        dynlib.load_results(tmp_path / f"r{suffix}")


def test_a_failure_leaves_both_files_of_before(sim: Sim, tmp_path: Path) -> None:
    files = sim.results().save(tmp_path / "r.parquet")
    before = [file.read_bytes() for file in files]
    broken = replace(sim.raw_results().log, event=sim.raw_results().log.event + 9)
    with pytest.raises(IndexError):
        ResultsView(replace(sim.raw_results(), log=broken)).save(tmp_path / "r.parquet")
    files[1].unlink()
    files[1].mkdir()
    with pytest.raises(ExportError, match=r"cannot write .*r\.events\.parquet"):
        sim.results().between(0.0, 1.0).save(tmp_path / "r.parquet")
    assert files[0].read_bytes() == before[0]
    assert sorted(tmp_path.iterdir()) == sorted(files)
