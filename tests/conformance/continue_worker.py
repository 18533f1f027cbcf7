"""A process of its own: imports each snapshot of a list, continues it, and writes the end and what was recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from conformance.cases import full, horizon

from dynlib import Sim


def main(folder: Path) -> None:
    for line in (folder / "list.txt").read_text().splitlines():
        stepper, kind = line.split(maxsplit=1)
        sim = Sim(full(stepper, kind))
        sim.import_snapshot(folder / f"{stepper}-{kind}.npz")
        sim.run(T=horizon(stepper), resume=True)
        sim.export_snapshot(folder / f"{stepper}-{kind}-end.npz")
        raw = sim.raw_results()
        np.savez(
            folder / f"{stepper}-{kind}-data.npz",
            t=raw.t, step=raw.step, data=raw.data, log_t=raw.log.t, log_id=raw.log.event, log=raw.log.values,
        )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
