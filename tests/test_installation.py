"""The wheel: what it holds, and that it works in an empty environment, far from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dynlib.version import VERSION

ROOT = Path(__file__).parent.parent
PIP = ("-m", "pip", "--disable-pip-version-check", "-q")
MOST_BYTES = 250e6
SMOKE = f"""
import subprocess, sys
import dynlib

assert sys.prefix in dynlib.__file__, dynlib.__file__
assert dynlib.__version__ == {VERSION!r}
assert len(dynlib.builtin_models()) > 20
sim = dynlib.setup("builtin://ode/lorenz")
assert sim.full_model.kernel.jit and sim.run(T=5.0).ok
sim.export_snapshot("five.npz")
other = dynlib.open_snapshot("five.npz")
for each in (sim, other):
    each.run(T=9.0, resume=True)
assert sim.state.same_bits(other.state)
for absent in ("matplotlib", "pandas", "rich", "tqdm", "scipy"):
    assert absent not in sys.modules
print("works")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that nothing is left in the checkout."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    subprocess.run([sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", out, copy], check=True)
    (built,) = out.iterdir()
    return built


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    package = ROOT / "src" / "dynlib"
    ours = {p.relative_to(package.parent).as_posix() for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    with zipfile.ZipFile(wheel) as held:
        names = {name for name in held.namelist() if ".dist-info/" not in name}
        (entries,) = (name for name in held.namelist() if name.endswith("entry_points.txt"))
        assert "dynlib = dynlib.cli.main:entry" in held.read(entries).decode()
        assert any(name.endswith("LICENSE") for name in held.namelist())
    assert names == ours
    assert "dynlib/py.typed" in names
    assert "dynlib/models/ode/lorenz.toml" in names


def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """From the package index that pip is set up for. The core is small: 250 MB with the bytecode of its files."""
    place, work = tmp_path / "venv", tmp_path / "work"
    work.mkdir()
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    install = [sys.executable, "-m", "pip", "--python", python, *PIP[2:], "install", "--compile", wheel]
    subprocess.run(install, check=True)
    files = {p: p.lstat().st_size for p in (place / "lib").rglob("*") if p.is_file()}
    assert any(p.suffix == ".pyc" for p in files)
    assert sum(files.values()) < MOST_BYTES
    for arguments, expected in (
        ([python, "-I", "-c", SMOKE], "works"),
        ([place / "bin" / "dynlib", "model", "list"], "builtin://ode/lorenz"),
        ([place / "bin" / "dynlib", "snap", "info", "five.npz"], "lorenz"),
    ):
        done = subprocess.run(arguments, cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_what_is_tested_is_within_the_ranges() -> None:
    """The exact versions in `requirements/`, for each dependency of the core and of every extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = {}
    for file in ("demo", "docs", "test"):
        for line in (ROOT / "requirements" / f"{file}.txt").read_text("utf-8").splitlines():
            if re.match(r"\w", line):
                pin = Requirement(line)
                pins[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("==")
    ranges = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    for each in map(Requirement, ranges):
        if each.name != project["name"]:
            assert each.specifier.contains(pins[canonicalize_name(each.name)]), f"{each} is not what is tested"


def test_the_page_and_the_table_of_dependencies_state_the_range_of_llvmlite() -> None:
    """It is bounded by the size of LLVM, so that the bound must not be lifted without measuring anew."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (bound,) = (r for r in project["dependencies"] if r.startswith("llvmlite"))
    low, high = re.fullmatch(r"llvmlite>=([\d.]+),<([\d.]+)", bound).groups()  # type: ignore[union-attr]
    assert f"llvmlite | ≥ {low}, < {high} |" in (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert f"llvmlite stays below {high}:" in (ROOT / "docs" / "installation.md").read_text("utf-8")


def test_the_extra_all_names_every_extra_for_users() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(everything.removeprefix("dynlib[").removesuffix("]").split(",")) == set(extras) - {"all", "dev", "docs"}
