"""The benchmark suite: dynlib, hand-written C and the peers at the same work, in one run.

`python -m benchmarks.suite --help` says how to run it. A row of work is an entry of `rows.py` and a function under its
name in WORKS of every adapter in `peers/` that can do it, or a program in `fresh.py`.
"""
