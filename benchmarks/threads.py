"""Two threads and one shared model: do they run at the same time?

The same work is done by one thread and by two threads with a session each, in alternation. With two free cores, two
threads need as long as one (ratio 1); if one waited for the other, twice as long (ratio 2). On a busy machine that says
little; the processor time that two threads get in a second does: more than 1 only if they run at the same time. The
best of all rounds is printed, since other work can only make it worse.

Usage: python benchmarks/threads.py [steps] [rounds]
"""

from __future__ import annotations

import os
import sys
import threading
import time

import dynlib


def measured(sims: list[dynlib.Sim], steps: int) -> tuple[float, float]:
    """Seconds that the sessions need, each in a thread of its own, and seconds of processor time in each of them."""
    threads = [threading.Thread(target=sim.run, kwargs={"N": steps, "record": False}) for sim in sims]
    began, used = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return seconds, (time.process_time() - used) / seconds


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 9
    full = dynlib.build("builtin://ode/lorenz", stepper="rk4", dt=0.001)
    sims = [dynlib.Sim(full), dynlib.Sim(full)]
    measured(sims, 10)
    one, two = [], []
    for _ in range(rounds):
        one.append(measured(sims[:1], steps))
        two.append(measured(sims, steps))
    (a, p), (b, q) = ((min(s for s, _ in pairs), max(c for _, c in pairs)) for pairs in (one, two))
    print(f"{steps} steps of Lorenz RK4 in each thread, best of {rounds} rounds, {os.cpu_count()} cores")
    print(f"one thread   {a:6.3f} s   {p:.2f} cores at once")
    print(f"two threads  {b:6.3f} s   {q:.2f} cores at once (more than 1: at the same time)")
    print(f"ratio        {b / a:6.3f}     (1: at the same time, 2: one after the other)")
    same = sims[0].state.same_bits(sims[1].state)
    print(f"states       {'equal to the last bit' if same else 'DIFFER'}")


if __name__ == "__main__":
    main()
