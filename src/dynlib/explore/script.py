"""A lineage as a Python script that leads to the same state, to the last bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from dynlib.errors import SnapshotError
from dynlib.session.lineage import Deed, Edit, Lineage, Recorder, Stretch
from dynlib.status import Status

_ENDED = (Status.DONE, Status.STOPPED, Status.MAX_STEPS, Status.INTERRUPTED)


class Origin(Struct, frozen=True):
    """How a session came to be: a line of Python that makes `sim`, and how many moments of its lineage it brings."""

    code: str
    moments: int = 0


def script_of(origin: Origin, lineage: Lineage, shown: Sequence[str], since: float) -> str:
    """Python text: the session, what was done to it in its order, and a picture of what is `shown` from a time on.

    Raises `SnapshotError` for an edit that `Sim.assign` cannot make.
    """
    lines = [
        '"""What was seen in the explorer, computed again to the last bit."""',
        "",
        "import dynlib",
        "",
        origin.code,
    ]
    parts = lineage.parts[origin.moments :]
    for k, (deeds, moment) in enumerate(parts):
        lines += _deeds(deeds)
        if k < len(parts) - 1 and moment.name != "initial":  # the first run keeps that one by itself
            lines.append(f"sim.create_snapshot({moment.name!r})")
    lines += ["", "print(sim)", "print(sim.state_dict())"]
    if shown and any(isinstance(deed, Stretch) for deeds, _ in parts for deed in deeds):
        lines += ["", 'if __name__ == "__main__":  # the picture needs matplotlib']
        lines += ["    import matplotlib.pyplot as plt", "", "    results = sim.results()"]
        lines += [f"    for name in {list(shown)!r}:", "        plt.plot(results.t, results[name], label=name)"]
        lines += [f"    plt.xlim({since!r}, sim.t)", '    plt.xlabel("t")', "    plt.legend()", "    plt.show()"]
    return "\n".join([*lines, ""])


def _deeds(deeds: Iterable[Deed]) -> Iterable[str]:
    recorder = ""
    for deed in deeds:
        match deed:
            case Recorder():
                how = f"record_interval={deed.interval}" if deed.interval else f"record_dt={deed.dt!r}"
                recorder = f", {how}"
            case Edit():
                if any("." in name for name, _, _ in deed.changes):
                    names = ", ".join(name for name, _, _ in deed.changes)
                    raise SnapshotError(f"a script cannot repeat an edit of {names}; export a snapshot instead")
                yield f"sim.assign({ {name: new for name, _, new in deed.changes}!r})"
            case Stretch():
                yield from _run(deed, recorder)
                recorder = ""


def _run(deed: Stretch, recorder: str) -> Iterable[str]:
    """A run to a time inside of a step, or by whole steps; one that failed is run into the step that failed."""
    if deed.pending:
        yield f"sim.run(T={deed.t_to!r}, resume=True, record=True{recorder})"
        condition, more = f"sim.t < {deed.t_to!r}", f"T={deed.t_to!r}"
    else:
        failed = Status[deed.status] not in _ENDED
        steps = deed.step_to - deed.step_from + failed
        yield f"sim.run(N={steps}, resume=True, record=True{recorder})"
        condition, more = f"sim.step < {deed.step_to}", f"N={deed.step_to} - sim.step"
    if Status[deed.status] in _ENDED:
        yield f"while {condition}:  # past a stop condition"
        yield f"    sim.run({more}, resume=True, record=True)"
