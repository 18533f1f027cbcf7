"""The processes that do the work: a worker for each peer, and fresh ones for single programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.suite import environments, fresh

HERE = ("dynlib", "c")
"""Those that run with this Python and this checkout."""
TIMEOUT = 300.0


class PeerFailure(Exception):
    """A peer ended, or took too long; the message says how."""


def python_of(peer: str, folder: Path) -> str | None:
    """The Python that runs a peer; None where it is not installed."""
    if peer in HERE:
        return None if peer == "c" and shutil.which("gcc") is None else sys.executable
    found = environments.interpreter(folder, peer)
    return str(found) if found else None


def environment(peer: str, caches: str) -> dict[str, str]:
    """Variables of a process: everything that peers cache goes to a folder; only ours sees this checkout's library.

    Bytecode is written next to the modules, as `pip install` leaves it for every package.
    """
    apart = {"PYTHONDONTWRITEBYTECODE", *(() if peer in HERE else ("PYTHONPATH",))}
    kept = {k: v for k, v in os.environ.items() if k not in apart}
    if peer in HERE:
        path = [str(Path(fresh.CHECKOUT, "src")), *filter(None, [kept.get("PYTHONPATH")])]
        kept["PYTHONPATH"] = os.pathsep.join(path)
    names = ("XDG_CACHE_HOME", "DYNLIB_CACHE_DIR", "NUMBA_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")
    folders = {name: str(Path(caches, name.lower())) for name in names}
    return {**kept, **folders, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "PYTHONSAFEPATH": "1"}


class Process:
    """A worker that answers requests; it is started at the first one, and again after it failed."""

    def __init__(self, peer: str, python: str, caches: str) -> None:
        self.peer, self.python, self.caches = peer, python, caches
        self.running: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        code = (
            f"import sys; sys.path.insert(0, {str(fresh.CHECKOUT)!r}); "
            "from benchmarks.suite.worker import main; main()"
        )  # fmt: skip
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        return subprocess.Popen(
            [self.python, "-c", code, self.peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True, env=environment(self.peer, self.caches), cwd=self.caches,
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request. Raises `PeerFailure`."""
        if self.running is None:
            self.running = self.start()
        process = self.running
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.close()
        raise PeerFailure(f"took more than {TIMEOUT:g} s" if late else last_line(self.errors))

    def close(self) -> None:
        """End the worker."""
        if self.running is not None:
            assert self.running.stdin is not None
            self.running.stdin.close()
            self.running.kill()
            self.running.wait()
            self.running = None


def last_line(errors: Any) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().splitlines() if line.strip() and not line.startswith("-----")]
    return lines[-1][:200] if lines else "ended without a word"


def run_fresh(peer: str, python: str, program: str, parameters: dict[str, Any], caches: str) -> dict[str, Any]:
    """What a program printed, with its time from start to end as the `amount` where it measures nothing itself."""
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [python, "-c", fresh.HEAD + program, json.dumps(parameters)], env=environment(peer, caches), cwd=caches,
            capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PeerFailure(f"took more than {TIMEOUT:g} s") from None
    seconds = time.perf_counter() - began
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise PeerFailure(lines[-1][:200] if lines else f"ended with {done.returncode}")
    return {"amount": seconds, **json.loads(done.stdout.splitlines()[-1])}
