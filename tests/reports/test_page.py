"""The pages are complete, self-contained and escaped, and a real browser renders them without messages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nnrec
from nnrec.core.errors import ConfigError
from nnrec.reports.comparison import Comparison
from nnrec.reports.html.user_groups import attributes
from nnrec.reports.html.write import write_comparison, write_report
from nnrec.runs.folder import RunFolder
from nnrec.runs.result import Result
from tests.conftest import ROOT, TINY_DATA

# Addresses that a browser requests by itself.
OWN_HOSTS = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")
BAD_TITLE = '<script>alert("x")</script> & <img src=http://nnrec.invalid/x.png>'


class Page(HTMLParser):
    """The content of a page: tags with their attributes, ids, headings, and text outside of scripts and styles."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text, self.unbalanced = "", []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append((tag, self.getpos()))

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data

    def values(self, *names: str) -> list[str]:
        return [value or "" for _, attributes in self.tags for name, value in attributes.items() if name in names]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def reported(run_folder, tmp_path_factory) -> Page:
    """The page of the finished AutoRec run, in whose catalogue one popular title is hostile."""
    folder = RunFolder(shutil.copytree(run_folder, tmp_path_factory.mktemp("report") / "run"))
    table = pd.read_parquet(folder["item_table.parquet"])
    counts = folder.read_arrays("item_counts.npz")["count"]
    table.loc[np.argsort(-counts, kind="stable")[0], "title"] = BAD_TITLE
    table.to_parquet(folder["item_table.parquet"], index=False)
    number = len(pd.read_parquet(folder["users.parquet"]))
    table = pd.DataFrame(
        {"gender": ["f", "m"] * (number // 2), "age": np.arange(number), "zip": map(str, range(number))}
    )
    table.to_parquet(folder["user_table.parquet"], index=False)
    return Page(write_report(folder))


@pytest.fixture(scope="module")
def compared(run_folder, tmp_path_factory) -> Page:
    """The page of three models, one of them neural."""
    folder = tmp_path_factory.mktemp("comparison")
    nnrec.compare(f"output={folder}", *TINY_DATA, models=["popularity", "random"], runs=[run_folder])
    return Page(folder / "comparison.html")


@pytest.fixture(params=["reported", "compared"])
def page(request) -> Page:
    return request.getfixturevalue(request.param)


def test_it_parses_and_ids_are_unique(page):
    assert (page.unbalanced, page.open) == ([], [])
    ids = page.values("id")
    assert len(ids) == len(set(ids)) > 50
    assert page.count("h1") == 1
    targets = [value for value in page.values("href", "xlink:href") if value.startswith("#")]
    assert targets and {target[1:] for target in targets} <= set(ids)
    assert {found for found in re.findall(r"url\(#([^)]+)\)", page.source)} <= set(ids)


def test_it_is_self_contained(page):
    assert not [value for value in page.values("src", "href", "xlink:href", "data", "poster") if "//" in value]
    assert page.values("src") == []
    styles = " ".join(re.findall(r"<style>(.*?)</style>", page.source, re.DOTALL)) + " ".join(page.values("style"))
    assert "@import" not in styles and "url(http" not in styles
    assert [attributes["href"] for tag, attributes in page.tags if tag == "link"] == ["data:,"]


def test_it_can_be_heard_and_changes_with_the_light(page):
    plots = [attributes for tag, attributes in page.tags if attributes.get("role") == "img"]
    assert len(plots) == page.count("svg") >= 4
    assert all(len(plot["aria-label"] or "") > 20 for plot in plots)
    assert page.count("caption") == page.count("table") > 0
    assert "prefers-color-scheme: dark" in page.source
    # Only the page's own colours, which are defined for light and dark mode.
    drawn = "".join(re.findall(r"<svg.*?</svg>", page.source, re.DOTALL))
    assert "var(--series-1)" in drawn and not re.findall(r"#[0-9a-f]{6}\b", drawn)


def test_titles_are_escaped(reported):
    assert BAD_TITLE in reported.text
    assert BAD_TITLE not in reported.source
    assert reported.count("script") == 1 and reported.count("img") == 0


def test_a_report_has_all_sections_and_figures(reported, run_folder):
    sections = [attributes["id"] for tag, attributes in reported.tags if tag == "section"]
    expected = [
        "figures",
        "curves",
        "popularity",
        "people",
        "by-rating",
        "worst",
        "groups",
        "data",
        "settings",
        "legend",
    ]
    assert sections == expected
    metrics = json.loads((run_folder / "metrics.json").read_text())
    for name, value in metrics["test"].items():
        assert name in reported.text
        if abs(value) < 10:
            assert f"{value:.4f}" in reported.text
    assert metrics["data"]["split"] in reported.text
    for told in ("gender", "age", "hidden_units", "Held out", "furthest off"):
        assert told in reported.text
    assert "zip" not in reported.text


def test_a_comparison_has_every_model_in_every_section(compared):
    sections = [attributes["id"] for tag, attributes in compared.tags if tag == "section"]
    assert sections == [
        "figures", "trade-off", "curves", "popularity", "churn", "people",
        "by-rating", "worst", "groups", "data", "settings", "legend",
    ]  # fmt: skip
    for name in ("popularity", "random", "autorec"):
        assert compared.text.count(name) >= 6
    assert "Those with ranked by = rating are rating models" in compared.text


def test_churn_is_the_share_of_a_list_that_changes(compared):
    """Churn is given from each model (row) to each other one (column), and is 0 from a model to itself."""
    table = compared.text.split("Churn from the model of the row")[-1].split("What people get")[0]
    words = table.split()
    names = words[words.index("model") + 1 :][:3]
    rows = {name: words[words.index(name, words.index("model") + 4 + 4 * row) :][1:4] for row, name in enumerate(names)}
    assert set(names) == {"popularity", "random", "autorec"}
    for row, name in enumerate(names):
        assert rows[name][row] == "0%"
        for column, other in enumerate(names):
            assert rows[name][column] == rows[other][row]
    assert int(rows["random"][names.index("popularity")].rstrip("%")) > 50


def test_hits_are_what_was_held_out(run_folder, tmp_path):
    result = Result(RunFolder(run_folder))
    lists, users = result.lists.items, result.lists.users
    found = [len(set(items[:10]) & held_out(result, user)) for items, user in zip(lists, users, strict=True)]
    user, hits = users[np.argmax(found)], max(found)
    path = write_comparison(Comparison.of([result]), tmp_path, [result.user_ids[user]])
    assert hits > 0
    assert sum(attributes.get("class") == "hit" for _, attributes in Page(path).tags) == hits
    with pytest.raises(ConfigError, match="people: nobody is not among the test users. These are, for example: "):
        write_comparison(Comparison.of([result]), tmp_path, ["nobody"])


def held_out(result: Result, user: int) -> set[int]:
    return set(result.ratings[result.ratings["user"] == user]["item"])


def test_what_a_run_did_not_keep_is_left_out(run_folder, tmp_path):
    folder = RunFolder(shutil.copytree(run_folder, tmp_path / "run"))
    for name in ("test_lists.npz", "test_users.parquet", "test_ratings.parquet", "history.csv", "item_table.parquet"):
        folder[name].unlink()
    shutil.rmtree(folder["histories"])
    page = Page(write_report(folder))
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == ["figures", "data", "settings", "legend"]


def test_the_same_run_gives_the_same_page(run_folder, tmp_path):
    folder = RunFolder(shutil.copytree(run_folder, tmp_path / "run"))
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_attributes_make_groups():
    number = 100
    table = pd.DataFrame(
        {
            "gender": ["f", "m"] * 50,
            "age": range(number),
            "level": [1, 2, 3, 4] * 25,
            "zip": [str(i) for i in range(number)],
            "all_alike": 1,
            "year": range(number),
            "year_group": ["old", "new"] * 50,
        }
    )
    found = attributes(table)
    assert list(found) == ["gender", "age", "level", "year_group"]
    # 100 ages in five ranges of 20.
    assert found["age"].value_counts().to_dict() == dict.fromkeys(["0–19", "20–39", "40–59", "60–79", "80–99"], 20)
    assert set(found["level"]) == {"1", "2", "3", "4"}


# In a browser


def chromium(path: Path, folder: Path) -> tuple[str, list[str], set[str]]:
    """The page's HTML after its script has run, the messages of the console, and the hosts that are contacted."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium to render the page with")
    log = folder / "net.json"
    settings = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    settings += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--enable-logging=stderr"]
    settings += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", path.as_uri()]
    done = subprocess.run([program, *settings], capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    hosts = set(re.findall(r'"url":"(?:https?|wss?)://([^/":]+)', log.read_text()))
    return done.stdout, console, {host for host in hosts if not host.endswith(OWN_HOSTS)}


def test_a_browser_renders_it_without_errors_and_without_the_network(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page.source, encoding="utf-8")
    rendered, console, hosts = chromium(path, tmp_path)
    assert (console, hosts) == ([], set())
    # The script has run: one person is shown, the others can be chosen, columns can be sorted.
    assert rendered.count("<option") == page.count("article") == rendered.count("hidden=") + 1
    assert rendered.count("<button") > 5


def test_without_its_policy_the_page_asks_for_nothing_either(compared, tmp_path):
    path = tmp_path / "page.html"
    bare = re.sub(r"<meta http-equiv[^>]*>", "", compared.source)
    path.write_text(bare, encoding="utf-8")
    assert chromium(path, tmp_path)[1:] == ([], set())
    # The same page with a picture from elsewhere is found out.
    path.write_text(bare.replace("<main>", '<main><img src="http://nnrec.invalid/x.png">'), encoding="utf-8")
    assert chromium(path, tmp_path)[2] == {"nnrec.invalid"}


def test_its_policy_forbids_pictures_from_elsewhere(compared, tmp_path):
    path = tmp_path / "page.html"
    source = compared.source.replace("<main>", '<main><img src="http://nnrec.invalid/x.png">')
    path.write_text(source, encoding="utf-8")
    _, console, hosts = chromium(path, tmp_path)
    assert hosts == set()
    assert len(console) == 1 and "Content Security Policy" in console[0]


def test_the_templates_travel_with_the_package():
    templates = ROOT / "nnrec" / "reports" / "html" / "templates"
    assert {path.name for path in templates.iterdir()} == {"page.html", "page.css", "page.js"}
