"""What the site makes of the repository, for MkDocs.

Pages are written for a code host: a link to a file of the repository is an ordinary relative link. On the site it leads
to the module's API page, or to a page that shows the file. `<!-- settings: model/ease -->`, which a code host hides,
becomes a table of what conf/model/ease.yaml says.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
SETTINGS = re.compile(r"^<!-- settings: (\S+) -->$", re.MULTILINE)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash"}
# The packages with public names: those that `__init__.pyi`, or `__init__.py`, imports `as` themselves.
PUBLIC = (
    "nnrec",
    "nnrec.models",
    "nnrec.data",
    "nnrec.splits",
    "nnrec.evaluation",
    "nnrec.training",
    "nnrec.composed",
)
# What else people call, subclass or read about: modules by room, * stands for any name. The others are shown as files.
ROOMS = {
    "nnrec.core": ["errors"],
    "nnrec.data": ["load", "vocabulary", "schema", "rows", "preprocessing", "age_weighting", "filters/*"],
    "nnrec.splits": ["split", "weighted", "shards/*"],
    "nnrec.batches": ["protocol", "rows", "impressions", "shuffling", "worker_exchange"],
    "nnrec.models": ["layers/activations", "layers/*_losses", "layers/network", "knn/similarity"],
    "nnrec.ranking": ["top_items"],
    "nnrec.evaluation": ["responsiveness", "metrics/*"],
    "nnrec.runs": ["folder", "result"],
    "nnrec.training": ["optimizers"],
    "nnrec.recommend": ["live_session"],
}


def on_config(config: Any) -> Any:
    """Adds the chapters that are made, not written, to the navigation."""
    chapters: list[Any] = ["api/index.md"]
    chapters += [{chapter: [{title: _api_page(path)} for title, path in pages]} for chapter, pages in _chapters()]
    config.nav += [{"API": chapters}, {"Repository": ["repository/CONTRIBUTING.md", "repository/CHANGELOG.md"]}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each module of the API, and for each file of the repository that a page links to."""
    files.append(File.generated(config, "api/index.md", content=_api_index()))
    for path in _api():
        files.append(File.generated(config, _api_page(path), content=_api_content(path)))
    pending = ["CONTRIBUTING.md", "CHANGELOG.md"]
    for file in list(files.documentation_pages()):
        pending += _outside(f"docs/{file.src_uri}", file.content_string)
    shown: set[str] = set()
    while pending:
        path = pending.pop()
        if path in shown or _is_api(path):
            continue
        shown.add(path)
        content = _show(path)
        files.append(File.generated(config, _page(path), content=content))
        if path.endswith(".md"):
            pending += _outside(path, content)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Leads links to files of the repository to their pages, and fills in tables of settings."""
    uri = page.file.src_uri
    origin = uri.removeprefix("repository/") if uri.startswith("repository/") else f"docs/{uri}"

    def lead(match: re.Match[str]) -> str:
        path = _resolve(origin, match[1])
        target = path.removeprefix("docs/") if path.startswith("docs/") else _page(path)
        return posixpath.relpath(target, posixpath.dirname(uri) or ".") + (match[2] or "")

    if not uri.startswith("repository/") or origin.endswith(".md"):
        markdown = LINK.sub(lead, markdown)
    return SETTINGS.sub(lambda match: _table(match[1]), markdown)


@cache
def _listed() -> list[tuple[str, str, str]]:
    """(package, name, path of the module that defines it) of every public name."""
    found = []
    for package in PUBLIC:
        place = ROOT / package.replace(".", "/") / "__init__.py"
        stub = place.with_suffix(".pyi")
        for line in ast.walk(ast.parse((stub if stub.is_file() else place).read_text(encoding="utf-8"))):
            if isinstance(line, ast.ImportFrom) and line.module and line.names[0].asname == line.names[0].name:
                module = f"{package}.{line.module}" if line.level else line.module
                found += [(package, alias.name, f"{module.replace('.', '/')}.py") for alias in line.names]
    return found


@cache
def _public() -> dict[str, list[str]]:
    """The public names that a module defines, by its path: {"nnrec/models/linear/ease.py": ["nnrec.models.EASE"]}.

    A name that nnrec and a room both list, such as `Ratings`, is the room's.
    """
    found: dict[str, dict[str, str]] = {}
    for package, name, path in _listed():
        found.setdefault(path, {})[name] = f"{package}.{name}"
    return {path: list(names.values()) for path, names in found.items()}


@cache
def _api() -> list[str]:
    """The paths of the modules that have an API page: those with public names, then the rooms' others."""
    others = [
        str(path.relative_to(ROOT))
        for room, patterns in ROOMS.items()
        for pattern in patterns
        for path in sorted(ROOT.glob(f"{room.replace('.', '/')}/{pattern}.py"))
    ]
    return [*_public(), *(path for path in others if path not in _public())]


def _chapters() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Chapters of the API, each with (title, path of the module) of its pages: public names first, then the rooms."""
    for package in PUBLIC:
        yield (
            package,
            [
                (", ".join(name.rpartition(".")[2] for name in names), path)
                for path, names in _public().items()
                if names[0].rpartition(".")[0] == package
            ],
        )
    for room in ROOMS:
        paths = [path for path in _api() if path not in _public() and _module(path).startswith(f"{room}.")]
        if paths:
            yield f"Inside {room}", [(_module(path).removeprefix(f"{room}."), path) for path in paths]


def _api_index() -> str:
    """The first page of the API: every public name, with the first paragraph of its docstring."""
    lines = [
        "# API",
        "",
        "Import these names as they are written here, `from nnrec.models import AutoRec`: the modules that define them",
        "may move. The other modules that one reads about or subclasses stand in the navigation, by the folder they",
        "lie in.",
    ]
    above = ""
    for package, name, path in _listed():
        if package != above:
            lines += ["", f"## {package}", "", "| name | |", "|---|---|"]
            above = package
        anchor = next(public for public in _public()[path] if public.endswith(f".{name}"))
        page = _api_page(path).removeprefix("api/")
        lines.append(f"| [`{name}`]({page}#{anchor}) | {_cell(_about(path, name))} |")
    return "\n".join(lines) + "\n"


def _about(path: str, name: str) -> str:
    """The first paragraph of the docstring of a class or function."""
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    raise LookupError(f"{path} does not define {name}")


def _api_content(path: str) -> str:
    """The page of a module: its public names, under which they are imported, then what else is in the module."""
    public = _public().get(path, [])
    if not public:
        return f"# {_module(path)}\n\n::: {_module(path)}\n"
    lines = [f"# {', '.join(public)}", ""]
    for name in public:
        lines += [f"::: {name}", "    options:", "      show_root_heading: true", ""]
    hidden = [f'"!^{name.rpartition(".")[2]}$"' for name in public]
    lines += [f"## In {_module(path)}", "", f"::: {_module(path)}", "    options:"]
    lines += [f'      filters: ["!^_", {", ".join(hidden)}]', "      heading_level: 3"]
    return "\n".join(lines) + "\n"


def _is_api(path: str) -> bool:
    return path in _api()


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _api_page(path: str) -> str:
    return f"api/{_module(path)}.md"


def _page(path: str) -> str:
    """The site's page for a file or a folder of the repository."""
    if _is_api(path):
        return _api_page(path)
    return f"repository/{path}" if path.endswith(".md") else f"repository/{path.rstrip('/')}.md"


def _resolve(origin: str, link: str) -> str:
    """The path within the repository that a link means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def _outside(origin: str, markdown: str) -> Iterator[str]:
    """The paths within the repository that a page links to and that are no pages of docs/."""
    for match in LINK.finditer(markdown):
        path = _resolve(origin, match[1])
        if not path.startswith("docs/") and (ROOT / path).exists():
            yield path


def _show(path: str) -> str:
    """A page that shows a file, or lists a folder."""
    place = ROOT / path
    if path.endswith(".md"):
        return place.read_text(encoding="utf-8")
    if path.endswith(".ipynb"):
        return "\n\n".join(_cells(place))
    if place.is_dir():
        files = sorted(entry for entry in place.iterdir() if entry.suffix in LANGUAGES)
        return f"# {path}/\n\n" + "\n\n".join(f"## {file.name}\n\n{_fenced(file)}" for file in files)
    return f"# {path}\n\n{_fenced(place)}"


def _cells(notebook: Path) -> Iterator[str]:
    """The cells of a notebook, text as it is and code as blocks."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"``````python\n{source}\n``````"


def _fenced(place: Path) -> str:
    language = LANGUAGES.get(place.suffix, "text")
    return f"``````{language}\n{place.read_text(encoding='utf-8')}\n``````\n"


def _table(name: str) -> str:
    """The settings of a configuration file as a table that folds: key, value, and the comment beside it."""
    place = ROOT / "conf" / f"{name}.yaml"
    group = f"{name.split('/')[0]}." if "/" in name else ""
    lines = [f'??? abstract "Settings: conf/{name}.yaml"\n', "    | setting | default | |", "    |---|---|---|"]
    lines += [f"    | `{group}{key}` | {_code(value)} | {_cell(note)} |" for key, value, note in _all_settings(place)]
    return "\n".join(lines) + "\n"


def _all_settings(place: Path) -> list[tuple[str, str, str]]:
    """(key, value, comment): a file's own settings, then those of its bases, files such as _ratings.yaml."""
    found = list(_settings(place))
    for entry in yaml.safe_load(place.read_text(encoding="utf-8")).get("defaults", []):
        if not isinstance(entry, str) or not entry.startswith("_") or entry == "_self_":
            continue
        base = _all_settings(place.parent / f"{entry}.yaml")
        notes = {key: note for key, _, note in base}
        found = [(key, value, note or notes.get(key, "")) for key, value, note in found]
        own = [f"{key}." for key, _, _ in found]
        found += [row for row in base if not any(key.startswith(f"{row[0]}.") for key in own)]
    return found


def _settings(place: Path) -> Iterator[tuple[str, str, str]]:
    """(key, value, comment) of a configuration file, keys within groups joined by dots; lists in one line."""
    read = yaml.safe_load(place.read_text(encoding="utf-8"))
    above: list[tuple[int, str]] = []
    for line in place.read_text(encoding="utf-8").splitlines():
        match = re.match(r"( *)([\w]+):(?: +(.*?))??(?: +# (.*))?$", line)
        if not match:
            continue
        above = [(depth, key) for depth, key in above if depth < len(match[1])] + [(len(match[1]), match[2])]
        if match[2] == "_target_" or above[0][1] in ("defaults", "hydra"):
            continue
        value = read
        for _, key in above:
            value = value[key]
        if isinstance(value, dict) and value and not match[3]:
            continue
        yield (
            ".".join(key for _, key in above),
            match[3] or yaml.safe_dump(value, default_flow_style=True),
            match[4] or "",
        )


def _code(value: str) -> str:
    return f"`{_cell(' '.join(value.split()))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
