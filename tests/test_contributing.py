"""The table "where do I add a …" of `CONTRIBUTING.md` names files and words that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
ROWS = [line.split(" | ") for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| … ")]
BESIDE = ("", "src/dynlib", "tests", "docs", "benchmarks/suite")
"""Folders from which the table speaks."""
SOURCES = "\n".join(
    path.read_text("utf-8")
    for folder in ("src", "tests", "docs", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md") and path != Path(__file__)
)


def test_the_table_is_found() -> None:
    assert len(ROWS) > 25
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip("| ") for row in ROWS])
def test_a_row_names_what_exists(row: list[str]) -> None:
    words = [word for cell in row[1:] for word in re.findall(r"`([^`]+)`", cell)]
    assert words or "nothing" in row[2]
    for word in words:
        word = word.removeprefix("python ")
        if "/" in word or re.search(r"\.(py|md|toml|txt)$", word):
            pattern = re.sub(r"<[^>]+>|NAME", "*", word).rstrip("/")
            assert any(list((ROOT / folder).glob(pattern)) for folder in BESIDE), f"there is no {word}"
        else:
            for part in re.findall(r"[A-Za-z_]\w+", word):
                assert re.search(rf"\b{part}\b", SOURCES), f"nothing is called {part}"
