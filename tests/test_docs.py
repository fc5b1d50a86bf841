"""The pages: what they link to is there, and no model goes without a section."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
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
