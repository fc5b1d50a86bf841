"""Console output in a notebook."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from nnrec.core.console import ProgressBar, console, hushed


@pytest.fixture
def cell(monkeypatch) -> list[str]:
    """The lines currently shown in a notebook cell."""
    lines: list[str] = []

    class Handle:
        def __init__(self):
            self.place = len(lines) - 1

        def update(self, content, raw):
            assert raw
            lines[self.place] = content["text/plain"]

    def display(content, raw, display_id):
        assert raw and display_id
        lines.append(content["text/plain"])
        return Handle()

    module = ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(console, "is_jupyter", True)
    monkeypatch.setattr("nnrec.core.console.SECONDS_BETWEEN_UPDATES", 0.0)
    return lines


def test_progress_replaces_its_line_in_a_notebook(cell):
    with ProgressBar("training", 2) as bar:
        for epoch in (1, 2):
            bar.advance()
            bar.report(f"epoch {epoch}")
            assert cell == [f"training  {epoch}/2  epoch {epoch}"]
    with ProgressBar("evaluating", 1, transient=True) as bar:
        bar.report("users")
        assert cell == ["training  2/2  epoch 2", "evaluating  0/1  users"]
    assert cell == ["training  2/2  epoch 2", ""]


def test_only_the_last_progress_shows_where_nothing_is_printed(cell, capsys):
    with hushed():
        console.print("a table")
        for label in ("training", "refitting"):
            with ProgressBar(label, 1) as bar:
                bar.report("epoch 1", final=True)
            assert cell == [f"{label}  0/1  epoch 1"]
    assert cell == [""]
    assert capsys.readouterr().out == ""


def test_hushing_ends(capsys):
    with hushed():
        console.print("hidden")
        with hushed(quiet=False):
            console.print("still hidden")
    with hushed(quiet=False), ProgressBar("training", 1) as bar:
        bar.report("epoch 1", final=True)
    with pytest.raises(ValueError, match="no"), hushed():
        raise ValueError("no")
    console.print("seen")
    assert capsys.readouterr().out == "training  0/1  epoch 1\nseen\n"
