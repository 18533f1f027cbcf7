"""SIGKILL at random moments: the same command, given again until the end, leaves the bytes of an undisturbed run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from session.stored_runs import CASES


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes() -> None:
    script = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, str(script), "120", "1"], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    match = re.search(r"^(\d+) kills, (\d+) runs came to their end, 0 lost something$", done.stdout, re.MULTILINE)
    assert match, done.stdout
    assert int(match[1]) >= 120
    assert int(match[2]) >= len(CASES)
