"""The import contracts in pyproject.toml hold, and an import that violates one is detected."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nnrec
from tests.conftest import ROOT

PACKAGES = ("data", "splits", "models", "evaluation", "training", "composed")
ROOMS = "A room imports only rooms that stand before it"
MODELS = "Models build on base and layers, which know none of them"
CIRCLES = "No circles, in any folder"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def copied(folder: Path) -> Path:
    """Copies the package and pyproject.toml into a folder; returns the path of the copied package."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(ROOT / "nnrec", folder / "nnrec", ignore=lambda _, names: {"__pycache__"} & set(names))
    return folder / "nnrec"


def test_imports_go_one_way():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert all(f"{name} KEPT" in done.stdout for name in (ROOMS, MODELS, CIRCLES))


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("core/errors.py", "from nnrec.data import rows", ROOMS),
        ("data/rows.py", "def late():\n    from nnrec.models.linear import ease", ROOMS),
        (
            "splits/split.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nnrec.runs import folder",
            ROOMS,
        ),
        ("models/layers/gru.py", "from nnrec.models.linear import ease", MODELS),
        ("data/vocabulary.py", "from nnrec.data import ratings", CIRCLES),
    ],
)
def test_an_import_that_goes_up_is_found(tmp_path, file, line, broken):
    place = copied(tmp_path) / file
    place.write_text(f"{place.read_text()}\n\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1 and f"{broken} BROKEN" in done.stdout


def test_a_new_room_has_to_be_put_into_the_order(tmp_path):
    room = copied(tmp_path) / "new_room"
    room.mkdir()
    (room / "__init__.py").touch()
    done = lint(tmp_path)
    assert done.returncode == 1 and "new_room" in done.stdout


def test_few_entries_at_the_top():
    assert len([path for path in (ROOT / "nnrec").iterdir() if path.name != "__pycache__"]) <= 19


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_where_they_are_said_to_be(package):
    module = import_module(f"nnrec.{package}")
    assert module.__all__
    for name in module.__all__:
        found = getattr(module, name)
        assert found.__name__ == name and found.__module__.startswith(f"nnrec.{package}.")


def test_what_type_checkers_see_of_the_package_is_what_there_is():
    tree = ast.parse((ROOT / "nnrec" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(seen) == sorted(nnrec.__all__)
    for name, module in seen.items():
        assert getattr(nnrec, name) is getattr(import_module(str(module)), name)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import nnrec, nnrec.models, nnrec.splits, sys; print({'keras', 'numpy', 'pandas', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
