"""The peers' environments: a virtual environment for each, from `requirements/benchmarks/NAME.txt`.

Usage: python -m benchmarks.suite.environments [DIR] [--only NAMES]

A peer that does not install here is reported and left out of the suite. A requirements file whose first line reads
`# python >= 3.X` is installed with `python3.X` or a later one, where that is found on the path.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements" / "benchmarks"
DEFAULT = ROOT / ".venv-peers"
PEERS = sorted(p.stem for p in REQUIREMENTS.glob("*.txt"))


def interpreter(folder: Path, peer: str) -> Path | None:
    """The Python of a peer, None where its environment is not ready."""
    python = folder / peer / "bin" / "python"
    return python if (folder / peer / "ready").exists() else None


def python_for(peer: str) -> str | None:
    """A Python as new as the peer needs it."""
    wanted = re.match(r"# python >= 3\.(\d+)", (REQUIREMENTS / f"{peer}.txt").read_text("utf-8"))
    least = int(wanted[1]) if wanted else 0
    if sys.version_info >= (3, least):
        return sys.executable
    for minor in range(least, least + 6):
        python = shutil.which(f"python3.{minor}")
        if python and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            return python
    return None


def make(folder: Path, peer: str) -> str:
    """Make the environment of a peer; what came of it."""
    if interpreter(folder, peer) is not None:
        return "ready"
    python = python_for(peer)
    if python is None:
        return "no Python new enough for it is on the path"
    target = folder / peer
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(target)], check=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    done = subprocess.run([*pip, "-r", str(REQUIREMENTS / f"{peer}.txt")], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or [
            f"pip ended with {done.returncode}"
        ]
        return f"does not install: {lines[-1]}"
    (target / "ready").touch()
    return "ready"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--only", default=",".join(PEERS), help="names, separated by commas")
    arguments = parser.parse_args()
    for peer in arguments.only.split(","):
        print(f"{peer}: {make(arguments.folder.resolve(), peer)}", flush=True)


if __name__ == "__main__":
    main()
