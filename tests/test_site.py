"""The documentation site builds without a warning, and stands by itself; the gallery shows every model."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import dynlib

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MODELS = [location.removeprefix("builtin://") for location in dynlib.builtin_models()]


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "trees"), "-b", "html"]
    done = subprocess.run([*build, str(DOCS), str(tmp_path / "site")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"([^\"]*)\"", page.read_text("utf-8"))
        assert loaded
        assert not [address for address in loaded if re.match(r"(\w+:)?//", address)], page


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "gallery" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_the_gallery_shows_every_model_with_a_picture_of_its_own(gallery: ModuleType) -> None:
    assert sorted(gallery.PICTURES) == sorted(MODELS)
    pictures = [gallery.file_of(name) for name in MODELS]
    assert sorted(pictures) == sorted((DOCS / "gallery").glob("*.png"))
    assert len({picture.read_bytes() for picture in pictures}) == len(MODELS)
    assert sum(picture.stat().st_size for picture in pictures) < 1_500_000


def test_the_page_of_the_gallery_is_what_its_command_writes(gallery: ModuleType) -> None:
    assert (DOCS / "gallery" / "index.md").read_text("utf-8") == gallery.page()


@pytest.mark.parametrize(
    "name", [name for name in MODELS if name.startswith("map/")] + ["ode/izhikevich", "ode/lorenz"]
)
def test_pictures_are_drawn_by_the_command(gallery: ModuleType, name: str) -> None:
    """Some of them, from shorter runs."""
    assert gallery.draw(name, 0.05).startswith(b"\x89PNG")
