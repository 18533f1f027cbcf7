"""Everything at once: `python -m benchmarks.suite`, from the root of the checkout.

Writes the measured numbers (--json), the page benchmarks.md and its pictures (--docs FOLDER). Peers run in the
environments that `python -m benchmarks.suite.environments` makes; one that is missing is left out, and the page says
so. With --keep, rows that the JSON file has already, measured with the same peers, are not measured again: a run that
was interrupted goes on. The exit code is 1 where dynlib or the C computed something else than the row asks for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.suite import environments, report
from benchmarks.suite.measure import PEERS, Crew, Result, crew, measure
from benchmarks.suite.processes import HERE
from benchmarks.suite.rows import ROWS, Row


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="rows whose name begins so; several with commas")
    parser.add_argument("--peers", default=",".join(PEERS), help="names, separated by commas")
    parser.add_argument("--environments", type=Path, default=environments.DEFAULT)
    parser.add_argument("--rounds", type=int, default=9, help="turns of timing")
    parser.add_argument("--json", type=Path, default=Path("out/benchmarks.json"))
    parser.add_argument("--keep", action="store_true", help="measure only what the JSON file lacks")
    parser.add_argument("--docs", type=Path, help="folder for benchmarks.md and its pictures")
    parser.add_argument("--pictures", action="store_true", help="draw the pictures into that folder; needs matplotlib")
    parser.add_argument("--quick", action="store_true", help="tiny work in one round, only to see that it runs")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def chosen(only: str) -> list[Row]:
    starts = tuple(only.split(","))
    rows = [r for r in ROWS if r.name.startswith(starts)]
    if not rows:
        sys.exit(f"no row begins with {only!r}; --list names them")
    return rows


def main() -> int:
    given = arguments()
    if given.list:
        print("\n".join(f"{r.name:24} {r.title}" for r in ROWS))
        return 0
    rows, peers = chosen(given.only), [p for p in given.peers.split(",") if p]
    if unknown := set(peers) - set(PEERS):
        sys.exit(f"unknown peers: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    rounds = 1 if given.quick else given.rounds
    saved: dict[str, Any] = {"rows": {}}
    if given.json.exists() and (given.keep or given.only):
        saved = json.loads(given.json.read_text("utf-8"))
    with crew(peers, given.environments.resolve()) as who:
        saved |= {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "missing": who.missing}
        saved["peers"] = {**saved.get("peers", {}), **who.about}
        for row in rows:
            kept = saved["rows"].get(row.name)
            if given.keep and kept and kept["peers"] == who.there and kept["rounds"] == rounds:
                continue
            saved["rows"][row.name] = measured(row, who, rounds, given.quick)
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(saved, indent=1), "utf-8")
    results = {name: [Result(**r) for r in found["results"]] for name, found in saved["rows"].items()}
    if given.docs:
        given.docs.joinpath("benchmarks.md").write_text(report.page(saved, results), "utf-8")
        if given.pictures:
            from benchmarks.suite import pictures

            pictures.draw(results, given.docs)
    wrong = [
        f"{r.row}: {r.peer} {r.variant}: {r.note or f'differs by {r.difference:.1e}'}"
        for row in rows
        for r in results[row.name]
        if r.peer in HERE and (r.note or not r.agrees(row))
    ]
    print("\n".join(wrong))
    return 1 if wrong else 0


def measured(row: Row, who: Crew, rounds: int, quick: bool) -> dict[str, Any]:
    began = time.perf_counter()
    results = measure(row, who, rounds, quick)
    print("\n".join(report.row_lines(row, results)), flush=True)
    seconds = time.perf_counter() - began
    print(f"measured in {seconds:.0f} s\n", flush=True)
    return {"peers": who.there, "rounds": rounds, "seconds": seconds, "results": [asdict(r) for r in results]}


if __name__ == "__main__":
    sys.exit(main())
