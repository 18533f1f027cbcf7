"""Metadata of earlier versions of the snapshot file, brought to the present version one step at a time.

A step changes parsed metadata only, after the digest over the bytes of the file was found right. What an earlier
version did not have is not made up: it is absent, and the lineage says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Content = Mapping[str, Any]


def _from_1(content: Content) -> Content:
    """Version 2 added model, lineage, environment, observers and results. A file of version 1 begins a lineage."""
    root = {
        "dt": content.get("nominal_dt"),
        "options": content.get("stepper_config"),
        "exact": False,
        "note": "read from a file of version 1, which does not tell how its state came about",
    }
    moment: dict[str, Any] = {
        "name": content.get("name"),
        "t": content.get("t"),
        "step": content.get("step"),
        "state": content.get("digest"),  # that of the file stands for that of the state
        "deeds": [],
    }
    return _with(
        content,
        document=None,
        environment={},
        observers=[],
        results=None,
        lineage={"root": root, "moments": [moment]},
    )


def _from_2(content: Content) -> Content:
    """Version 3 added the position in a store. The first files of version 2 had no environment, observers, results."""
    return _with({"environment": {}, "observers": [], "results": None, **content}, store=None)


def _with(content: Content, **new: Any) -> Content:
    early = sorted(set(content) & set(new))
    if early:
        raise ValueError(f"its version has no {', '.join(early)}")
    return {**content, **new}


_STEPS: dict[int, Callable[[Content], Content]] = {1: _from_1, 2: _from_2}
VERSIONS = (*_STEPS, 1 + max(_STEPS))
"""The versions that can be read; the last one is written."""


def migrated(content: Content) -> Content:
    """Metadata of any readable version as those of the present one. Raises `ValueError`."""
    for version in range(content["schema_version"], VERSIONS[-1]):
        content = _STEPS[version](content)
    return content
