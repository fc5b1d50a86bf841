"""What the site makes of the repository, for MkDocs.

Pages are written for a code host: a link to a file of the repository is an ordinary relative link. On the site it leads
to the module's API page, or to a page that shows the file. `<!-- settings: model/ease -->`, which a code host hides,
becomes a table of what conf/model/ease.yaml says.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
SETTINGS = re.compile(r"^<!-- settings: (\S+) -->$", re.MULTILINE)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash"}
# What people call, subclass or read about, by chapter; * stands for any name. Other modules are shown as files.
API = {
    "Runs": ["nnrec/api.py", "nnrec/recommend/live_session.py", "nnrec/core/errors.py"],
    "Models": [],  # those of conf/model, below
    "Model interfaces": [
        f"nnrec/models/{name}.py"
        for name in ("scorer", "base", "baseline", "session_scorer", "session_baseline", "impression_recommender")
    ],
    "Data": [
        f"nnrec/data/{name}.py"
        for name in ("__init__", "ratings", "sessions", "impressions", "vocabulary", "readers", "session_readers")
        + ("impression_readers", "libfm", "dsstne", "filters", "session_filters", "preprocessing", "stoplist", "shards")
        + ("simulate", "simulate_clicks", "simulate_impressions")
    ],
    "Splits": ["nnrec/data/*splits.py"],
    "Losses and optimizers": [
        f"nnrec/{name}.py" for name in ("losses", "session_losses", "optimizers", "schedules", "trainer")
    ],
    "Evaluation": [f"nnrec/{name}.py" for name in ("evaluation", "next_item", "impression_evaluation", "course")],
    "Metrics": ["nnrec/metrics/*.py"],
}


def on_config(config: Any) -> Any:
    """Adds the chapters that are made, not written, to the navigation."""
    chapters = [
        {title: [{_module(path).removeprefix("nnrec."): _api_page(path)} for path in paths]}
        for title, paths in _api().items()
    ]
    config.nav += [{"API": chapters}, {"Repository": ["repository/CONTRIBUTING.md", "repository/CHANGELOG.md"]}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each public module, and for each file of the repository that a page links to."""
    for paths in _api().values():
        for path in paths:
            page = f"# {_module(path)}\n\n::: {_module(path)}\n"
            files.append(File.generated(config, _api_page(path), content=page))
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


def _api() -> dict[str, list[str]]:
    """The paths of the public modules, by chapter."""
    configured = {yaml.safe_load(path.read_text()).get("_target_") for path in ROOT.glob("conf/model/*.yaml")} - {None}
    models = sorted("/".join(target.split(".")[:-1]) + ".py" for target in configured)
    found = {
        title: [str(path.relative_to(ROOT)) for pattern in patterns for path in sorted(ROOT.glob(pattern))]
        for title, patterns in API.items()
    }
    return found | {"Models": models}


def _is_api(path: str) -> bool:
    return any(path in paths for paths in _api().values())


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
