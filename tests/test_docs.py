"""The pages: what they link to is there, and no model goes without a section."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
# Other texts that speak of nnrec's files and names; old_names.py holds those of release 0.1.
TEXTS = [
    *(page for page in PAGES if page != "CHANGELOG.md"),
    *(
        str(path.relative_to(ROOT))
        for pattern in ("conf/**/*.yaml", "notebooks/*.ipynb", "benchmarks/*.py", "hydra_plugins/*.py", "nnrec/**/*.py")
        for path in ROOT.glob(pattern)
        if path.name != "old_names.py"
    ),
]
MODELS = sorted(path.stem for path in ROOT.glob("conf/model/[!_]*.yaml"))


def _slug(heading: str) -> str:
    """The anchor of a heading, as code hosts and the site make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _headings(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [_slug(heading) for heading in re.findall(r"^#+ (.*)$", text, flags=re.M)]


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files_and_headings_that_are_there(page):
    for link, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", (ROOT / page).read_text("utf-8")):
        place = (ROOT / page).parent / link if link else ROOT / page
        assert place.exists(), f"{page} links to {link}"
        if anchor:
            assert anchor in _headings(place), f"{page} links to {link}#{anchor}"


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_section_with_its_settings_and_its_class(model):
    sections = {
        name: text
        for page in ROOT.glob("docs/models/*.md")
        for name, text in re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), flags=re.M | re.S)
    }
    assert model in sections
    assert f"<!-- settings: model/{model} -->" in sections[model]
    assert f"](../../conf/model/{model}.yaml)" in sections[model]
    assert re.search(r"\[API\]\(\.\./\.\./nnrec/(models|composed)/", sections[model])
    assert f"#{model})" in (ROOT / "docs/models/index.md").read_text("utf-8")


def test_marked_files_of_settings_are_there():
    for page in ROOT.glob("docs/**/*.md"):
        for name in re.findall(r"<!-- settings: (\S+) -->", page.read_text("utf-8")):
            assert (ROOT / f"conf/{name}.yaml").is_file(), f"{page} shows conf/{name}.yaml"


def _text(place: Path) -> str:
    text = place.read_text(encoding="utf-8")
    if place.suffix == ".ipynb":
        return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def _defined(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """(name, where it is defined) of what a module or a class holds."""
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                yield node.name, node
            case ast.Import() | ast.ImportFrom():
                yield from ((alias.asname or alias.name, node) for alias in node.names)
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                named = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
                yield from ((name, node) for name in named)
            case ast.If() | ast.Try():
                yield from _defined([*node.body, *node.orelse])


@cache
def _module(path: Path) -> dict[str, ast.stmt] | None:
    """What the module or package at a path without suffix defines; None where there is none."""
    files = [path.with_suffix(".py"), path / "__init__.py", path / "__init__.pyi"]
    found = [file for file in files if file.is_file()]
    return {k: v for file in found for k, v in _defined(ast.parse(file.read_text("utf-8")).body)} if found else None


def _is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something in one. Nothing is imported, so that Spark need not be there."""
    path, parts = ROOT, name.split(".")
    while parts and _module(path / parts[0]) is not None:
        path /= parts.pop(0)
    held = _module(path) or {}
    for part in parts:
        if part not in held:
            return False
        node = held[part]
        held = dict(_defined(node.body)) if isinstance(node, ast.ClassDef) else {}
    return True


@pytest.mark.parametrize(
    "name", ["nnrec.models.EASE", "nnrec.models.linear.ease.EASE.fit", "nnrec.core", "nnrec.train"]
)
def test_a_name_is_found(name):
    assert _is_there(name)


@pytest.mark.parametrize("name", ["nnrec.models.ease.EASE", "nnrec.models.linear.ease.EASE.fitted", "nnrec.errors"])
def test_a_name_that_is_not_there_is_not_found(name):
    assert not _is_there(name)


def test_names_and_files_of_nnrec_are_those_of_today():
    stale = []
    for place in TEXTS:
        text = _text(ROOT / place)
        names = set(re.findall(r"(?<![\w./-])nnrec(?:\.[A-Za-z_]\w*)+", text))
        files = set(re.findall(r"(?<![\w./-])nnrec/[\w/]+(?:\.pyi?\b|/)", text))
        stale += [f"{place}: {name}" for name in sorted(names) if not _is_there(name)]
        stale += [f"{place}: {file}" for file in sorted(files) if not (ROOT / file).exists()]
    assert stale == []
