"""Results to files and back."""

from __future__ import annotations

import os
from pathlib import Path

from dynlib.arguments import checked
from dynlib.results.formats import Format, format_of, read_results_file, write_results
from dynlib.results.recorded import InMemory, Recorded
from dynlib.results.view import ResultsView


def export_results(
    results: ResultsView | Recorded, path: str | os.PathLike[str], form: Format | None = None
) -> list[Path]:
    """Write results, by default in the format that the file's suffix names; returns the files that were written.

    A format of one table writes `NAME.events.SUFFIX` beside `NAME.SUFFIX` if the model logs events. A file is replaced
    as a whole once it is complete. Raises `UnknownNameError`, `ExportError`.

    >>> import dynlib
    >>> from dynlib.results.export import export_results
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> [str(path) for path in export_results(sim.results(), "neuron.csv")]
    ['neuron.csv', 'neuron.events.csv']
    """
    recorded = InMemory(results.raw) if isinstance(results, ResultsView) else results
    return write_results(recorded, path, form or format_of(path))


@checked
def load_results(path: str | os.PathLike[str], *, most_bytes: int = 2**32) -> ResultsView:
    """The results that `ResultsView.save` or an export wrote to a file, equal to the last bit.

    The suffix names the format. Every length, type and checksum is tested and nothing in the file is executed; results
    that would take more than `most_bytes` of memory are refused. Raises `ResultsFileError` for a file that is not whole
    or of something else, `UnknownNameError` for another suffix, `ExportError` without the package of the format.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0, tag="rest")
    >>> files = sim.results().save("neuron.npz")
    >>> res = dynlib.load_results("neuron.npz")
    >>> res["v"].tobytes() == sim.results()["v"].tobytes(), res.segments[0].name, len(res.event("spike"))
    (True, 'rest', 3)
    """
    return ResultsView(read_results_file(path, most_bytes))
