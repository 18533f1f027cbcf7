"""A run in a directory that was interrupted and taken up is the run that was not, for every case."""

from __future__ import annotations

import os
import signal

import pytest
from conformance.cases import CASES, full, horizon
from session.faulty_disk import HastyDisk, in_place_of_the_disk
from session.kit import content
from session.stored_runs import content_of, difference, quick_folder

from dynlib import Buffers, Sim, open_run

EVERY = "15 steps"
SMALL = Buffers(rows=9, logs=2, steps=10)


@pytest.mark.parametrize(("stepper", "kind"), CASES, ids=lambda value: value)
def test_an_interrupted_run_ends_in_the_bytes_of_a_whole_one(stepper: str, kind: str) -> None:
    model, T, pauses = full(stepper, kind), horizon(stepper), 0

    def interrupt(fraction: float, t: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 2:
            os.kill(os.getpid(), signal.SIGINT)

    memory = Sim(model)
    memory.run(T)
    with quick_folder() as folder, in_place_of_the_disk(HastyDisk()):
        Sim(model, buffers=SMALL).resume_or_start(folder / "whole", T, checkpoint=EVERY)
        with pytest.raises(KeyboardInterrupt):
            Sim(model, buffers=SMALL).resume_or_start(folder / "cut", T, checkpoint=EVERY, progress=interrupt)
        assert 0 < open_run(folder / "cut").checkpoint().meta.step < memory.step
        again = Sim(model)
        again.resume_or_start(folder / "cut", T, checkpoint=EVERY)
        assert not difference(content_of(folder / "whole"), content_of(folder / "cut"))
        assert again.state.same_bits(memory.state)
        assert content(again.raw_results()) == content(memory.raw_results())
