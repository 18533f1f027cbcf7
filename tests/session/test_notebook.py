"""A notebook that is executed holds the displays."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = {
    'import dynlib\nsim = dynlib.setup("builtin://ode/izhikevich", jit=False)\nsim.full_model.model': r"\dot{v}",
    "sim.full_model": "interpreted",
    "sim.run(T=20.0)": "run started: DONE",
    "sim": "session of izhikevich",
    "sim.results()": "<polyline",
    'sim.create_snapshot("here")': "snapshot here",
    "sim.tree()": "<circle",
    'dynlib.lyapunov_exponents("builtin://map/henon", N=200, jit=False)': "Lyapunov exponents",
}
"""What each cell shows."""
BAR = """
from dynlib.runtime.progress import Passing, ProgressDisplay
display = ProgressDisplay(after=0.0)
display(Passing(0.5, 5.0, 10.0, 500, None))
display.close()
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (*CELLS, BAR)])
    folder: Path = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def test_a_notebook_shows_models_sessions_results_and_trees(executed: nbformat.NotebookNode) -> None:
    for cell, expected in zip(executed.cells, CELLS.values(), strict=False):
        (output,) = cell.outputs
        assert output.output_type == "execute_result"
        assert expected in output.data["text/html"], cell.source
    assert executed.cells[0].outputs[0].data["text/latex"].startswith("$$")


def test_a_notebook_shows_progress_as_a_widget(executed: nbformat.NotebookNode) -> None:
    (output,) = executed.cells[-1].outputs
    assert output.output_type == "display_data"
    assert "application/vnd.jupyter.widget-view+json" in output.data
