# SPDX-License-Identifier: MIT
"""The example notebook, and what objects of the bench show in one."""

from __future__ import annotations

from typing import Any

import nbclient
import nbformat
import pytest

#: Seconds for one cell: the first one that needs a guest may have to make its template.
_CELL = 300


def html(cell: Any) -> str:
    """What the last expression of a cell shows."""
    return "".join(str(out["data"]["text/html"]) for out in cell.outputs if out.output_type == "execute_result")


def test_example_notebook_runs_and_shows_its_results(pytestconfig: pytest.Config) -> None:
    """Each cell of the example runs; recording, verdict and picture show themselves as HTML."""
    notebook = nbformat.read(pytestconfig.rootpath / "examples/notebook/line.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the notebook must be kept without results"
    nbclient.NotebookClient(notebook, timeout=_CELL).execute()
    run, masked, picture = (text for cell in notebook.cells if cell.cell_type == "code" and (text := html(cell)))
    assert "<th>RAISE</th>" in run
    assert "held in 4" in masked
    assert "<iframe" in picture and "Four interrupts of dev0" in picture
