"""Two threads and one shared model: do they run at the same time?

The same work is done by one thread, by two threads with a session each, and by two processes, in alternation. With two
free cores, two threads need as long as one (ratio 1); if one waited for the other, twice as long (ratio 2). On a busy
machine two processes need longer than one thread too, so they are the fair measure. The least times are compared, since
other work can only add to them. Usage: python benchmarks/threads.py [steps] [rounds]
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import dynlib


def seconds(kind: Callable[..., Any], sims: list[dynlib.Sim], steps: int) -> float:
    """How long the sessions need, each in a thread or process of its own."""
    workers = [kind(target=sim.run, kwargs={"N": steps, "record": False}) for sim in sims]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 9
    full = dynlib.build("builtin://ode/lorenz", stepper="rk4", dt=0.001)
    sims = [dynlib.Sim(full), dynlib.Sim(full)]
    process = multiprocessing.get_context("fork").Process
    seconds(threading.Thread, sims, 10)
    one, two, apart = [], [], []
    for _ in range(rounds):
        one.append(seconds(threading.Thread, sims[:1], steps))
        two.append(seconds(threading.Thread, sims, steps))
        apart.append(seconds(process, sims, steps))
    a, b, c = min(one), min(two), min(apart)
    print(f"{steps} steps of Lorenz RK4 in each, least of {rounds} rounds, {os.cpu_count()} cores")
    print(f"one thread     {a:6.3f} s")
    print(f"two threads    {b:6.3f} s   ratio to one thread    {b / a:.3f}  (1: together, 2: in turn)")
    print(f"two processes  {c:6.3f} s   threads to processes   {b / c:.3f}")
    same = sims[0].state.same_bits(sims[1].state)
    print(f"the states of the two threads {'are equal to the last bit' if same else 'DIFFER'}")


if __name__ == "__main__":
    main()
