"""The notebooks: what is kept of them in git, and that each runs from top to bottom."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
# Beside nnrec itself, and what comes with Python.
ALLOWED = {"matplotlib", "numpy", "pandas"}
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def code_of(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "code"]


def test_there_are_seven():
    assert [path.name.partition("_")[0] for path in NOTEBOOKS] == [str(number) for number in range(1, 8)]


@EACH
def test_nothing_of_an_execution_is_kept(path):
    found = read(path)
    advice = f"Strip it: nbstripout --extra-keys metadata.language_info {path}"
    assert (found["nbformat"], found["nbformat_minor"], found["metadata"]) == (4, 5, KERNEL), advice
    for cell in found["cells"]:
        assert cell["metadata"] == {}, advice
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, advice
    assert len({cell["id"] for cell in found["cells"]}) == len(found["cells"])


@EACH
def test_it_is_short_and_explained(path):
    cells = read(path)["cells"]
    assert 10 <= len(cells) <= 22
    assert "".join(cells[0]["source"]).startswith("# ")
    assert sum(cell["cell_type"] == "markdown" for cell in cells) >= len(cells) // 3
    assert any("plt.subplots" in code for code in code_of(path))


@EACH
def test_it_imports_nnrec_and_little_else_and_defines_no_class(path):
    nodes = [node for code in code_of(path) for node in ast.walk(ast.parse(code))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    roots = {name.partition(".")[0] for name in names}
    assert "nnrec" in roots
    assert roots - {"nnrec"} - set(sys.stdlib_module_names) <= ALLOWED
    assert not any(isinstance(node, ast.ClassDef) for node in nodes)


@EACH
def test_the_documentation_names_it(path):
    assert f"(../notebooks/{path.name})" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


@pytest.mark.slow
@EACH
def test_it_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(found, timeout=900, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in found.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert list(tmp_path.iterdir()) == []
