"""No fault of the disk, at whatever system call, loses anything of a run in a directory: a part of all calls is tried.

`python tests/session/faults.py` tries every one of them.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from session.faults import EVERY, SMALL, strike
from session.faulty_disk import FAULTS, FaultyDisk, in_place_of_the_disk
from session.stored_runs import CASES, Case, content_of, difference, quick_folder, reference

from dynlib import Sim, StoreError, open_run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_after_any_fault_the_same_command_ends_in_the_same_bytes(case: Case) -> None:
    tried = 0
    with quick_folder() as folder:
        for fault, at, problem in strike(case, 19, 1, folder):
            tried += 1
            assert not problem, f"{fault} at call {at}: {problem}"
    assert tried > 10 * len(FAULTS)


def test_a_full_disk_is_one_clear_error_and_the_session_goes_on_when_there_is_room(tmp_path: Path) -> None:
    case, T = CASES[0], 200.0
    sim = Sim(case.model(jit=True), buffers=SMALL)
    folder, counted = tmp_path / "full", FaultyDisk()
    with in_place_of_the_disk(counted):
        whole = reference(case, T, EVERY, tmp_path / "whole", SMALL)
    with (
        in_place_of_the_disk(FaultyDisk("full", counted.calls // 2)),
        pytest.raises(StoreError, match=r"No space left on device.*checkpoint is whole.*when there is room"),
    ):
        case.run(folder, T, EVERY, sim=sim)
    assert 0.0 < sim.t < T  # it stands where it came to
    before = open_run(folder).checkpoint()
    assert 0 < before.meta.step <= sim.step
    case.run(folder, T, EVERY, sim=sim)
    assert not difference(whole, content_of(folder))


def test_the_faulty_disk_does_strike(tmp_path: Path) -> None:
    disk = FaultyDisk("full", 0)
    with pytest.raises(OSError, match="No space left") as met:
        disk.mkdir(tmp_path / "new")
    assert met.value.errno == errno.ENOSPC
    assert disk.calls == 1
