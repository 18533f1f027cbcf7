"""A worker: one peer in a process and an environment of its own, asked in lines of JSON, timed inside.

Requests: `about`; `variants` of a row; `prepare` a variant, which does the work once; `time` what is prepared; `scan` a
tolerance. What a peer prints goes to standard error. An exception ends the worker; its last line says why.

Usage: python -m benchmarks.suite.worker ADAPTER
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Run = Callable[[], Any]
"""Does the work once and returns its value as numbers, or None where the peer reports a failure."""
Prepare = Callable[[], Run]
Works = Mapping[str, Callable[[dict[str, Any]], Mapping[str, Prepare]]]
"""What an adapter offers as WORKS: rows by name; each gives, for parameters, its variants by name."""

SCAN = [10.0 ** (-k / 4) for k in range(12, 58)]
SLOWEST = 2.0
"""Seconds; a scan ends at a run that needs more."""


class Worker:
    """What has been prepared, and how to time it."""

    def __init__(self, adapter: str) -> None:
        began = time.perf_counter()
        self.adapter = importlib.import_module(f"benchmarks.suite.peers.{adapter}")
        self.import_seconds = time.perf_counter() - began
        self.works: Works = self.adapter.WORKS
        self.prepared: dict[str, Run] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        answers = {"about": self.about, "variants": self.variants, "prepare": self.prepare, "scan": self.scan}
        return {**answers, "time": self.time}[request.pop("do")](**request)

    def about(self) -> dict[str, Any]:
        return {
            "version": self.adapter.version(),
            "settings": self.adapter.SETTINGS,
            "python": platform.python_version(),
            "import_seconds": self.import_seconds,
        }

    def variants(self, row: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"variants": list(self.works[row](parameters)) if row in self.works else []}

    def prepare(self, row: str, variant: str, parameters: dict[str, Any], checked: dict[str, Any]) -> dict[str, Any]:
        """Ready to be timed; also the value (of the smaller work `checked`, if any) and the time of the first one."""
        began = time.perf_counter()
        run = self.works[row](parameters)[variant]()
        value = run()
        cold = time.perf_counter() - began
        began = time.perf_counter()
        run()
        once = time.perf_counter() - began
        if checked:
            value = self.works[row]({**parameters, **checked})[variant]()()
        self.prepared[f"{row}/{variant}"] = run
        return {"value": numbers(value), "cold": cold, "once": once}

    def scan(
        self, row: str, variant: str, parameters: dict[str, Any], reference: list[float], scale: float, target: float
    ) -> dict[str, Any]:
        """The coarsest tolerance that meets the target together with the next finer one, so that no lucky hit counts.

        First by powers of ten, then by quarters of them; None where the finest tolerance or the time does not do.
        """

        def at(k: int) -> tuple[float, float]:
            rtol = SCAN[k]
            run = self.works[row]({**parameters, "rtol": rtol, "atol": rtol * parameters["atol_per_rtol"]})[variant]()
            error = distance(numbers(run()), reference, scale)
            began = time.perf_counter()
            if error <= target:
                self.prepared[f"{row}/{variant}/{k}"] = run
            else:
                run()
            return error, time.perf_counter() - began

        k, (error, seconds) = 0, at(0)
        while error > target and seconds < SLOWEST and k + 4 < len(SCAN):
            k += 4
            error, seconds = at(k)
        if error > target:
            return {"rtol": None, "error": error}
        found: list[float] = []
        for j in range(max(0, k - 7), len(SCAN)):
            error, _ = at(j)
            found = [*found, error] if error <= target else []
            if len(found) == 2:
                self.prepared[f"{row}/{variant}"] = self.prepared[f"{row}/{variant}/{j - 1}"]
                return {"rtol": SCAN[j - 1], "error": found[0]}
        return {"rtol": None, "error": error}

    def time(self, row: str, variant: str, spend: float) -> dict[str, Any]:
        """The best of as many runs as fit into a time span, one at least."""
        run, best = self.prepared[f"{row}/{variant}"], float("inf")
        until = time.perf_counter() + spend
        while True:
            began = time.perf_counter()
            run()
            ended = time.perf_counter()
            best = min(best, ended - began)
            if ended > until:
                return {"seconds": best}


def numbers(value: Any) -> list[float] | None:
    """A value as plain numbers."""
    return None if value is None else [float(x) for x in value]


def distance(value: list[float] | None, reference: list[float], scale: float) -> float:
    """The greatest difference of a component over its size plus the scale; infinite where there is no value."""
    if value is None or len(value) != len(reference):
        return float("inf")
    differences = [abs(a - b) / (scale + abs(b)) for a, b in zip(value, reference)]
    return float("inf") if any(d != d for d in differences) else max(differences)


def main() -> None:
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        channel.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        channel.flush()


if __name__ == "__main__":
    main()
