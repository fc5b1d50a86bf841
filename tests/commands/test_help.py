"""`--help` lists the files in conf/, and what these files say about themselves is true."""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from nnrec.commands.help import FAMILIES, WIDTH, show
from nnrec.core import calling
from nnrec.core.config.choices import Choice, Groups, Setting
from nnrec.core.config.compose import compose, config_folder
from nnrec.core.errors import ConfigError
from nnrec.data.families import family_of
from nnrec.models.base.scorer import Scorer

CONF = config_folder()
GROUPS = Groups(CONF)
COMMANDS = ("train", "predict", "compare", "export", "prepare")
CHOICES = [(group, choice.name) for group in GROUPS.names() for choice in GROUPS.choices(group)]
# Shards hold ratings or sessions: their split, and the data, say no family.
OF_ANY_FAMILY = {("split", "prepared"), ("data", "shards")}


@pytest.fixture(autouse=True)
def _called_as_scripts(monkeypatch):
    monkeypatch.setattr(calling, "_way", calling.SCRIPTS)


def shown(capsys, *arguments: str, config: str = "train") -> str:
    show(config, ["--help", *arguments], f"python {config}.py")
    return capsys.readouterr().out


@pytest.mark.parametrize("group", ["model", "split", "evaluation", "trainer"])
def test_every_choice_says_in_a_line_what_it_is(group):
    for choice in GROUPS.choices(group):
        assert re.match(r"[A-Z0-9].*[.]$", choice.about), f"{choice.path}: its first line is its description"
        indent = max(len(other.name) for other in GROUPS.choices(group)) + 6
        assert len(choice.about) <= WIDTH - indent, f"{choice.path}: its first line is cut in --help"


@pytest.mark.parametrize(("group", "name"), [pair for pair in CHOICES if pair[0] in ("model", "split", "evaluation")])
def test_the_family_that_a_file_names_is_that_of_its_class(group, name):
    target = get_object(compose("train", [f"{group}={name}"])[group]._target_)
    expected = "" if (group, name) in OF_ANY_FAMILY else family_of(target).name
    assert group != "model" or issubclass(target, Scorer)
    assert GROUPS.choice(group, name).family == expected


@pytest.mark.parametrize(("group", "name"), [pair for pair in CHOICES if pair[0] not in ("experiment", "sweep")])
def test_the_settings_of_a_choice_are_those_that_hydra_composes(group, name):
    config = OmegaConf.to_container(compose("train", ["~experiment", f"{group}={name}"]), resolve=False)
    choice = GROUPS.choice(group, name)
    for setting in choice.settings():
        if isinstance(setting, Setting):
            composed = reduce(lambda node, part: node[part], (choice.prefix + setting.key).split("."), config)
            assert composed == OmegaConf.to_container(OmegaConf.create(f"it: {setting.value}"), resolve=False)["it"]


def test_the_page_of_train(capsys):
    page = shown(capsys)
    lines = page.splitlines()
    assert len(lines) <= 100 and max(map(len, lines)) <= WIDTH
    for group in ("model", "data", "split", "evaluation", "trainer"):
        for choice in GROUPS.choices(group):
            assert re.search(rf"(?<![\w-]){re.escape(choice.name)}(?![\w-])", page), choice.path
    ratings, sessions, impressions = (lines.index(f"{heading}:") for heading in [*FAMILIES.values()][:3])
    place = {line.split()[0]: number for number, line in enumerate(lines[: impressions + 10]) if line.startswith("  ")}
    assert ratings < place["autorec"] < sessions < place["gru4rec"] < impressions < place["deepfm"] < place["fm"]
    assert lines[place["fm"]].startswith("    fm ") and lines[place["deepfm"]].startswith("  deepfm ")
    assert "for sessions: cold_items, given_sessions, last_days, last_sessions, usual_sessions" in lines
    assert re.search(r"^keep_histories=true +keep the training ratings", page, re.MULTILINE)


@pytest.mark.parametrize("config", COMMANDS)
def test_the_pages_fit_and_show_commands_as_they_were_called(config, capsys, monkeypatch):
    page = shown(capsys, config=config)
    assert max(map(len, page.splitlines())) <= WIDTH
    assert f"python {config}.py " in page and "$" not in page.replace("${", "")
    monkeypatch.setattr(calling, "_way", calling.CONSOLE)
    show(config, ["--help"], f"nnrec {config}")
    page = capsys.readouterr().out
    assert f"\nnnrec {config} " in page
    assert ".py " not in page.partition("==")[0] and "python" not in page.partition("==")[0]


def test_the_page_of_a_model(capsys):
    page = shown(capsys, "model=gru4rec", "trainer.epochs=3")
    assert page.startswith("model=gru4rec  for sessions\n\nGRU4Rec: ")
    along = "data=simulated_clicks split=usual_sessions evaluation=next_item trainer=gru4rec"
    assert f"brings along: {along}" in " ".join(page.split())
    assert re.search(r"^model\.bptt=1 +events between updates", page, re.MULTILINE)
    assert "Family:" not in page and "defaults" not in page
    assert max(map(len, page.partition("\nFrom ")[0].splitlines())) <= WIDTH


def test_a_variant_shows_what_it_takes_over(capsys):
    page = shown(capsys, "model=wide_deep")
    assert re.search(r"^model\.second_order=false +products of vectors", page, re.MULTILINE)
    assert "model.name=wide_deep" in page and "model.embedding_dim=16" in page and "model.name=deepfm" not in page
    assert "evaluation=ctr" in page


def test_several_choices_and_groups(capsys):
    page = shown(capsys, "data=table", "evaluation=top_n", "split")
    assert "data.source.path=???" in page and "evaluation.cutoffs=[20, 50, 100]" in page
    assert re.search(r"^  kfold  +One of several", page, re.MULTILINE)


def test_a_nested_group_and_recorded_settings(capsys):
    assert "trainer.schedule.factor=0.1" in shown(capsys, "trainer/schedule=plateau")
    assert re.search(r"^trainer\.epochs=40", shown(capsys, "experiment=autorec_ml-100k"), re.MULTILINE)


def test_mistakes_are_named(capsys):
    with pytest.raises(ConfigError, match=r"There is no model=gru4rek\. Did you mean gru4rec\? There are: als, "):
        shown(capsys, "model=gru4rek")
    with pytest.raises(ConfigError, match=r"There is no group or setting modle\. Did you mean model\?"):
        shown(capsys, "modle=ease")


def test_files_of_the_users_own_are_listed_and_bases_are_not(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "shop.yaml").write_text("# My shop.\ndefaults:\n  - _base\nname: shop # its name\n")
    (tmp_path / "data" / "_base.yaml").write_text("family: sessions\nsource: {path: x}\nlist:\n  - 1\n  - 2 # two\n")
    page = shown(capsys, f"--config-dir={tmp_path}")
    assert re.search(r"^for sessions: .*[\s\S]*?\bshop\b", page, re.MULTILINE) and "_base" not in page
    page = shown(capsys, "--config-dir", str(tmp_path), "data=shop")
    assert page.startswith("data=shop  for sessions\n\nMy shop.\n")
    assert "data.list=[1,2]" in page and re.search(r"^data\.name=shop +its name", page, re.MULTILINE)


def test_a_comment_that_goes_on_in_the_next_line(tmp_path):
    path = Path(tmp_path / "x.yaml")
    path.write_text('# About.\na: {} # begins here\n  # and ends here\n# Alone.\nb: "#1"\n')
    assert [*Choice(path).own_settings()] == [
        Setting("a", "{}", "begins here and ends here"),
        "# Alone.",
        Setting("b", '"#1"', ""),
    ]
