"""The page on the file format is enough to read and to write a file without the library."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from session.format_reader import read
from session.kit import ring, zipped

import dynlib

PAGE = Path(__file__).parents[2] / "docs" / "snapshot-format.md"
FILES = sorted((Path(__file__).parent / "golden").glob("version-*/*.npz"))


def state_digest(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """The digest of the state in a file, by the table of the page."""
    pins = {key: value for key, value in meta["pins"].items() if key != "library_version"}
    digest = hashlib.sha256(json.dumps(pins, sort_keys=True).encode())
    rows = re.findall(r"^\| (`.*?) \| (\w*) \|", PAGE.read_text("utf-8").split("## The state")[1], re.MULTILINE)
    for kind in ("time", "real", "count"):
        for names, of in rows:
            if of == kind:
                for name in re.findall(r"`([\w/]+)`", names):
                    short = name.split("/")[-1]
                    for found in (n for n in arrays if re.fullmatch(short.replace("NAME", r"\w+"), n.split("/")[-1])):
                        digest.update(arrays[found].tobytes())
    digest.update(arrays.get("stepper_config", np.zeros(0)).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_stranger_reads_a_file(path: Path) -> None:
    meta, arrays, digest = read(path)
    assert digest == meta["digest"] == dynlib.inspect_snapshot(path).digest
    assert meta["t"] == arrays["workspace/runtime/t"][0]
    assert meta["step"] == arrays["workspace/runtime/n"][0]
    one, _, _ = read(path)
    text = json.dumps(one, indent=1, ensure_ascii=True, sort_keys=meta["schema_version"] == 1)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("meta.json").decode("ascii") == text
        assert all(np.array_equal(np.load(io.BytesIO(archive.read(f"{n}.npy"))), a) for n, a in arrays.items())


@pytest.mark.parametrize("stepper", ["rk4", "ab3", "rk45"])
def test_a_stranger_reads_a_new_file(tmp_path: Path, stepper: str) -> None:
    sim = ring(stepper)
    sim.run(T=1.03)
    sim.export_snapshot(tmp_path / "a.npz", results=True)
    meta, arrays, digest = read(tmp_path / "a.npz")
    assert digest == meta["digest"]
    assert np.array_equal(arrays["y"], sim.state_vector())
    rows = len(arrays["results/t"])
    data = arrays["results/data"].reshape(rows, len(meta["results"]["columns"]))
    assert np.array_equal(data[:, meta["results"]["columns"].index("w")], sim.results()["w"])


@pytest.mark.parametrize("name", ["neuron", "map", "recorded"])
def test_the_digest_of_a_state_is_as_the_page_says(name: str) -> None:
    """Those without memory of the stepper, whose order the page does not give."""
    meta, arrays, _ = read(next(p for p in FILES if p.parent.name == "version-3" and p.stem == name))
    state = {n: a for n, a in arrays.items() if not n.startswith("results/")}
    assert meta["lineage"]["moments"][-1]["state"] == state_digest(meta, state)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_stranger_writes_the_same_bytes(path: Path) -> None:
    """By `zipfile` and NumPy, which write the records and headers that the page describes."""
    with zipfile.ZipFile(path) as archive:
        members = {"meta.json": archive.read("meta.json")}
    for name, array in read(path)[1].items():
        stream = io.BytesIO()
        np.save(stream, array)
        members[f"{name}.npy"] = stream.getvalue()
    assert zipped(members) == path.read_bytes()


def test_the_page_tells_every_key_and_every_array(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    keys, table = text.split("\n## ")[2], text.split("## The state")[1]
    sim = ring("rk45")
    sim.run(T=1.0)
    sim.export_snapshot(tmp_path / "a.npz", results=True)
    meta, arrays, _ = read(tmp_path / "a.npz")
    told = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", keys, re.MULTILINE)))
    assert told == list(meta)
    for name in arrays:
        short = name.split("/")[-1].replace("lag_w", "lag_NAME")
        if short != "stepper_config":
            assert re.search(rf"[`/]{short}`", table), name
