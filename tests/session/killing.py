"""Runs in directories are killed with SIGKILL at random moments until they end; then every byte must be right.

Each life of a run is a process of its own, forked from one that has compiled the kernels, so that a kill falls into the
run and not into its start. The long run: `python tests/session/killing.py 5000`; the test suite kills a hundred times.
Waiting for the disk is left out, so that many kills fit into little time: a kill takes nothing from the system's memory
(what a power cut takes is the subject of `faults.py`).
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from session.faulty_disk import HastyDisk, in_place_of_the_disk
from session.stored_runs import CASES, Case, content_of, difference, quick_folder

from dynlib import Sim
from dynlib.runtime.driver import Buffers

EVERY = "0.02s"
SMALL = Buffers(rows=500, logs=100, steps=500)
LONGEST_LIFE = 0.4  # of the time that a run takes undisturbed
PATIENCE = 1.05  # each life may last so much longer than the one before: a busy machine also comes to an end
LENGTHS = {"rk45": 30_000.0, "rk4": 30_000.0, "euler_maruyama": 30_000.0, "ab3": 30_000.0, "map": 1_000_000.0}


def length(case: Case) -> float:
    """A horizon that takes a second or two."""
    return LENGTHS[case.stepper]


def live(case: Case, folder: Path) -> None:
    """One life of a run; the process ends with it. Exit code 0 says that the run is complete."""
    code = 1
    try:
        with in_place_of_the_disk(HastyDisk()):
            outcome = case.run(folder, length(case), EVERY, sim=Sim(case.model(jit=True), buffers=SMALL))
        code = 0 if outcome.ok else 2
    finally:
        os._exit(code)


def one_life(case: Case, folder: Path, seconds: float | None) -> str:
    """Start a life and kill it after a while, if a while is given: "killed", "complete", or what went wrong."""
    pid = os.fork()
    if pid == 0:
        live(case, folder)
    if seconds is not None:
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return "complete" if os.WEXITSTATUS(status) == 0 else f"exit code {os.WEXITSTATUS(status)}"


def kill_until(kills: int, seed: int, folder: Path) -> tuple[int, int, list[str]]:
    """Kill at least so often, and until every case came to its end: kills, runs at their end, and what was wrong."""
    draw, done, runs, wrong = random.Random(seed), 0, 0, []
    wholes: dict[str, tuple[dict[str, bytes], float]] = {}
    for case in CASES:
        place = folder / f"whole-{case.name}"
        began = time.perf_counter()
        if (ended := one_life(case, place, None)) != "complete":
            return 0, 0, [f"{case.name}: {ended} without a kill"]
        wholes[case.name] = content_of(place), time.perf_counter() - began
    while done < kills or runs < len(CASES):
        case = CASES[runs % len(CASES)]
        place = folder / f"run-{runs}"
        whole, seconds = wholes[case.name]
        ended, longest = "killed", LONGEST_LIFE * seconds
        while ended == "killed":
            ended = one_life(case, place, draw.uniform(0.0, longest))
            done += ended == "killed"
            longest *= PATIENCE
        problem = ended if ended != "complete" else difference(whole, content_of(place))
        if problem:
            wrong.append(f"{case.name}, run {runs}: {problem}")
        runs += 1
    return done, runs, wrong


def main() -> int:
    """Kill as often as the command line says, and count."""
    warnings.simplefilter("error")
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for case in CASES:  # compile before anything is forked
        case.model(jit=True)
        Sim(case.model(jit=True)).run(5.0)
    with quick_folder() as folder:
        done, runs, wrong = kill_until(kills, seed, folder)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{done} kills, {runs} runs came to their end, {len(wrong)} lost something")
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
