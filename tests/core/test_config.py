"""Every file under conf/ composes, and its targets accept its settings."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_method, get_object
from omegaconf import OmegaConf

from nnrec.core.config.build import build
from nnrec.core.config.compose import RENAMED, compose, config_folder
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.encoding.fields import Fields
from nnrec.data.filters.ratings import apply_filters
from nnrec.data.filters.sessions import filter_sessions
from nnrec.data.preprocessing import Preprocessing
from tests.conftest import ROOT

CONF = config_folder()
FILES = sorted(CONF.rglob("*.yaml"))


def group(name: str) -> list[str]:
    return sorted(path.stem for path in (CONF / name).glob("[!_]*.yaml"))  # without bases such as data/_ratings


def fits(config, skipped: tuple[str, ...] = ()) -> None:
    """The target exists and takes every key of the group; nested groups likewise."""
    parameters = inspect.signature(get_object(config._target_)).parameters
    for key, value in config.items_ex(resolve=False):
        if key in ("_target_", *skipped):
            continue
        assert key in parameters, f"{config._target_} does not take {key}"
        if OmegaConf.is_config(value) and "_target_" in value:
            fits(value)


def test_the_configuration_is_that_of_the_checkout():
    assert CONF == ROOT / "conf"
    assert {path.parent.name for path in FILES} >= {"model", "data", "split", "trainer", "evaluation", "conf"}


@pytest.mark.parametrize("name", group("model"))
def test_models(name):
    config = compose("train", [f"model={name}"])
    fits(config.model, skipped=("name",))
    assert config.model.name == name
    assert config.run_dir.startswith(f"runs/{name}/")
    sizes = {
        "sessions": {"num_items": 4},
        "impressions": {"fields": Fields(("device",), (3,))},
    }.get(config.data.get("family"), {"num_users": 3, "num_items": 4})
    assert build(config.model, "model", **sizes).name == name


@pytest.mark.parametrize("name", group("split"))
def test_splits(name):
    fits(compose("train", [f"split={name}"]).split)
    assert callable(build(compose("train", [f"split={name}"]).split, "split"))


@pytest.mark.parametrize(("part", "name"), [(part, name) for part in ("trainer", "evaluation") for name in group(part)])
def test_trainers_and_evaluations(part, name):
    config = compose("train", [f"{part}={name}"])[part]
    fits(config)
    made = build(config, part)
    for key, value in OmegaConf.to_container(config, resolve=True).items():
        if not isinstance(value, dict) and key != "_target_":
            assert getattr(made, key) == value
    if part == "trainer":
        assert made.schedule(0, made.epochs, []) > 0


@pytest.mark.parametrize("name", group("trainer/schedule"))
def test_schedules(name):
    config = compose("train", [f"trainer/schedule={name}"])
    fits(config.trainer.schedule)
    history = [{"val_rmse": 1.0}] * 30
    schedule = build(config.trainer, "trainer").schedule
    rates = [schedule(epoch, 30, history[:epoch]) for epoch in range(30)]
    assert all(0 < rate <= 1 for rate in rates)
    assert (rates[-1] < rates[0]) == (name != "constant")


@pytest.mark.parametrize("name", group("data"))
def test_data(name, monkeypatch):
    monkeypatch.delenv("NNREC_DATA", raising=False)
    config = compose("train", [f"data={name}"])
    assert config.data.name == name
    fits(config.data.source)
    if config.data.family == "impressions":
        assert set(config.data.preprocessing) <= set(inspect.signature(Preprocessing).parameters)
    elif name == "shards":
        assert "filters" not in config.data  # they are applied when shards are made
    else:
        filters = {"sessions": filter_sessions, "ratings": apply_filters}[config.data.family]
        assert list(config.data.filters) == list(inspect.signature(filters).parameters)[1:]
    if "item_table" in config.data.source:
        reader = get_method("nnrec.data.readers.ratings.read_item_table")
        assert set(config.data.source.item_table) <= set(inspect.signature(reader).parameters)
    if "folder" in config.data.source:
        folder = name.removesuffix("-clicks").removesuffix("-impressions").replace("bundlerec-", "bundlerec/")
        assert config.data.source.folder == f"data/{folder}"
    if OmegaConf.missing_keys(config.data.source):
        with pytest.raises(
            ConfigError, match=r"data\.source\.path has no value\. Give it on the command line: data\.sou"
        ):
            build(config.data.source, "data.source")
    elif name == "simulated_ratings":
        assert len(build(config.data.source, "data.source")) == config.data.source.num_ratings


def test_data_root_leads_to_the_files(monkeypatch, tmp_path):
    monkeypatch.setenv("NNREC_DATA", str(tmp_path / "from_environment"))
    assert compose("train", ["data=ml-1m"]).data.source.folder == f"{tmp_path}/from_environment/ml-1m"
    assert compose("train", ["data=ml-1m", "data_root=/other"]).data.source.folder == "/other/ml-1m"
    config = compose("train", ["data=ml-100k", f"data_root={tmp_path}", "data.source.download=false"])
    with pytest.raises(DataError, match="ml-100k"):
        build(config.data.source, "data.source")


def choices() -> set[tuple[str, str]]:
    return {(model, data) for model in group("model") for data in group("data")}


@pytest.mark.parametrize("name", group("experiment"))
def test_experiments(name):
    """An experiment sets existing settings only, and the command line overrides it."""
    recorded = OmegaConf.load(CONF / "experiment" / f"{name}.yaml")
    models = [f"model={model}" for model in group("model") if name.startswith(f"{model}_")]
    config = compose("train", [*models, f"experiment={name}"])
    for part in ("model", "trainer", "split"):
        for key, value in (recorded.get(part) or {}).items():
            assert config[part][key] == value
        fits(config[part], skipped=("name",))
    build(config.trainer, "trainer")
    assert compose("train", [*models, f"experiment={name}", "trainer.epochs=7"]).trainer.epochs == 7


@pytest.mark.parametrize(("model", "data"), sorted(pair for pair in choices() if "_".join(pair) in group("experiment")))
def test_an_experiment_is_picked_by_the_model_and_the_data_it_is_named_after(model, data):
    plain = compose("train", [f"model={model}", f"data={data}", "run_dir=run"])  # its default tells the time
    assert plain == compose("train", [f"model={model}", f"data={data}", "run_dir=run", f"experiment={model}_{data}"])


def test_without_an_experiment_the_defaults_hold():
    lone = sorted(choices() - {(m, d) for m, d in choices() if f"{m}_{d}" in group("experiment")})
    model, data = lone[0]
    recorded = OmegaConf.load(CONF / "model" / f"{model}.yaml")
    assert compose("train", [f"model={model}", f"data={data}"]).model == recorded


@pytest.mark.parametrize("name", ["train", "predict"])
def test_entry_points_compose(name):
    config = compose(name)
    assert "hydra" not in config
    OmegaConf.to_container(config, resolve=True)


def keys(tree: object, path: str = "") -> list[str]:
    if not isinstance(tree, dict):
        return []
    return [found for name, value in tree.items() for found in (f"{path}{name}", *keys(value, f"{path}{name}."))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_no_file_holds_the_size_of_a_data_set(path: Path):
    sizes = [key for key in keys(yaml.safe_load(path.read_text())) if key.rpartition(".")[2].startswith("num_")]
    assert not sizes or path.stem.startswith("simulated")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model=autorek",
            r"^There is no model=autorek\. Did you mean autorec\? There are: als, autorec, .*wide_deep\.$",
        ),
        ("data=ml1m", r"There is no data=ml1m\. Did you mean ml-1m\?"),
        ("split=randm", r"There is no split=randm\. Did you mean random\?"),
        ("evaluation=topn", r"There is no evaluation=topn\. Did you mean top_n\?"),
        ("trainer/schedule=platou", r"There is no trainer/schedule=platou\. Did you mean plateau\?"),
        ("trainer.epoch=3", r"There is no setting trainer\.epoch\. Did you mean trainer\.epochs\? --help lists"),
        ("model.hiden_units=[100]", r"There is no setting model\.hiden_units\. Did you mean model\.hidden_units\?"),
        ("epochs=3", r"There is no setting epochs\. Did you mean trainer\.epochs\?"),
        ("sed=3", r"There is no setting sed\. Did you mean seed\?"),
        ("modle=ease", r"There is no setting modle\. Did you mean model\?"),
        ("xyzzy=1", r"There is no setting xyzzy\. --help lists all settings\.$"),
        ("trainer.epochs", r"'trainer\.epochs' cannot be read: .*EQUAL.*Settings are written key=value"),
        ("model.hidden_units=[100", r"'model\.hidden_units=\[100' cannot be read: .* goes between quotes"),
    ],
)
def test_a_mistyped_override_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        compose("train", [override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluation=clicks"], r"^evaluation=clicks is now called evaluation=ctr\.$"),
        (["model=fm", "trainer=clicks"], r"^trainer=clicks is now called trainer=ctr\.$"),
        (["trainer.number_of_epochs=3"], r"^trainer\.number_of_epochs is now called trainer\.epochs\.$"),
    ],
)
def test_an_old_name_leads_to_the_new_one(overrides, message, monkeypatch):
    monkeypatch.setitem(RENAMED, "trainer.number_of_epochs", "trainer.epochs")
    with pytest.raises(ConfigError, match=message):
        compose("train", overrides)


def test_new_names_are_there():
    for old, new in RENAMED.items():
        group, is_choice, _ = old.partition("=")
        compose("train", [new] if is_choice else [f"{new}=null"])
        with pytest.raises(ConfigError):
            compose("train", [old if is_choice else f"{old}=null"])


@pytest.mark.parametrize(
    ("overrides", "chosen"),
    [
        (["model=gru4rec"], ("simulated_clicks", "UsualSessions", "NextItemEvaluation", 0.1)),
        (["model=sknn"], ("simulated_clicks", "UsualSessions", "NextItemEvaluation", 2e-3)),
        (["data=ml-1m-clicks", "model=gru4rec"], ("ml-1m-clicks", "UsualSessions", "NextItemEvaluation", 0.1)),
        (["model=gru4rec", "split=last_days", "evaluation=ctr", "trainer=default", "data=globo"],
         ("globo", "LastDays", "ImpressionEvaluation", 2e-3)),
        (["model=fm"], ("simulated_impressions", "UsualRows", "ImpressionEvaluation", 1e-3)),
        (["experiment=rbm_user_ml-1m"], ("ml-1m", "RandomSplit", "Evaluation", 5e-3)),
    ],
)  # fmt: skip
def test_a_model_brings_its_data_split_and_evaluation_and_the_command_line_wins(overrides, chosen):
    config = compose("train", overrides)
    targets = [config[part]._target_.rpartition(".")[2] for part in ("split", "evaluation")]
    assert (config.data.name, *targets, config.trainer.learning_rate) == chosen


def test_a_data_set_has_the_settings_of_its_base_and_its_own_win():
    globo, yoochoose = (compose("train", [f"data={name}"]).data for name in ("globo", "yoochoose-100k"))
    assert list(globo) == list(yoochoose) == ["name", "family", "source", "filters"]
    assert (globo.filters.min_item_support, yoochoose.filters.min_item_support) == (5, 1)
    assert globo.filters.min_session_length == 2
    assert compose("train", ["data=globo", "data.filters.min_item_support=3"]).data.filters.min_item_support == 3


@pytest.mark.parametrize("override", ["data=_ratings", "model=_sessions"])
def test_a_base_is_neither_offered_nor_chosen(override):
    with pytest.raises(ConfigError, match=rf"^{override} cannot be chosen: conf/.*\.yaml is a part of others\.$"):
        compose("train", [override])
    group, base = override.split("=")
    assert (CONF / group / f"{base}.yaml").is_file()
    with pytest.raises(ConfigError) as mistyped:
        compose("train", [f"{group}=mistyped"])
    assert f" {base}" not in str(mistyped.value)


def test_hydra_does_not_offer_bases():
    asked = [sys.executable, "train.py", "-sc", "query=bash"]
    line = {"COMP_LINE": "train.py data="}
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60, env=os.environ | line)
    assert "data=ml-1m" in done.stdout.split() and "_" not in {word[5] for word in done.stdout.split()}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epochs=abc", r"^trainer\.epochs must be a whole number\. Received: 'abc'\.$"),
        ("trainer.epochs=2.5", r"trainer\.epochs must be a whole number\. Received: 2\.5"),
        ("trainer.epochs=true", r"trainer\.epochs must be a whole number\. Received: True"),
        ("trainer.learning_rate=fast", r"trainer\.learning_rate must be a number\. Received: 'fast'"),
        ("trainer.batch_size=atuo", r"trainer\.batch_size must be a whole number or auto\. .*Did you mean auto\?"),
        ("trainer.refit=maybe", r"trainer\.refit must be true or false\. Received: 'maybe'"),
        ("trainer.patience=x", r"trainer\.patience must be a whole number or null\. Received: 'x'"),
        (
            "trainer.optimizer=adamm",
            r"trainer\.optimizer: there is no 'adamm'\. Did you mean adam\? Choose one of: adam,",
        ),
    ],
)
def test_a_value_of_another_kind_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        build(compose("train", [override]).trainer, "trainer")


def test_a_word_that_is_none_of_the_choices_is_refused():
    with pytest.raises(
        ConfigError, match=r"^model\.by must be one of item, user\. Received: 'users'\. Did you mean user"
    ):
        build(compose("train", ["model=autorec", "model.by=users"]).model, "model", num_users=3, num_items=2)


def test_a_whole_number_is_a_number_and_null_stands_where_it_may():
    trainer = build(
        compose("train", ["trainer.learning_rate=1", "trainer.patience=null", "trainer.devices=2"]).trainer, ""
    )
    assert (trainer.learning_rate, trainer.patience, trainer.devices) == (1, None, 2)


def test_a_value_that_is_missing_is_named_by_its_key():
    with pytest.raises(ConfigError, match=r"^data\.source\.path has no value\. .*: data\.source\.path=<value>\.$"):
        build(compose("train", ["data=table"]).data.source, "data.source")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("data.source.separator=;", ";"),
        ("data.source.value=größe", "größe"),
        ("data.source.path=shop (1).csv", "shop (1).csv"),
        ("data.source.user=Customer ID", "Customer ID"),
        ("data.source.user='a, b'", "a, b"),
        ("data.source.value=null", None),
        ("data.source.user=0", 0),
    ],
)
def test_values_that_hydra_has_no_word_for_are_text(override, value):
    config = compose("train", ["data=table", override])
    assert OmegaConf.select(config, override.partition("=")[0]) == value


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train.py", "model=autorecc"], "error: There is no model=autorecc. Did you mean autorec? "),
        (["predict.py", "run=x", "topn=3"], "error: There is no setting topn. Did you mean top_n? "),
        (["compare.py", "model=[ease"], "error: 'model=[ease' cannot be read: "),
        (["export.py", "run=x", "output=y", "formt=onnx"], "error: There is no setting formt. Did you mean format? "),
        (["prepare.py", "output=y", "split=hashd"], "error: There is no split=hashd. Did you mean hashed? "),
        (["train.py", "evaluation=clicks"], "error: evaluation=clicks is now called evaluation=ctr."),
        (["train.py", "data=_ratings"], "error: data=_ratings cannot be chosen: "),
    ],
)
def test_a_mistake_on_a_command_line_ends_in_a_line_on_stderr(command, message):
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1


def test_a_group_without_a_target():
    with pytest.raises(ConfigError, match="model needs a _target_: what to call"):
        build({"hidden_units": 3}, "model")


def test_from_the_command_line():
    done = subprocess.run(
        [sys.executable, "train.py", "--cfg", "job", "data=ml-1m", "trainer.epochs=3", "data_root=/d"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = yaml.safe_load(done.stdout)
    composed = compose("train", ["data=ml-1m", "trainer.epochs=3", "data_root=/d"])
    assert shown == OmegaConf.to_container(composed, resolve=False)
    done = subprocess.run(
        [sys.executable, "train.py", "trainer.epoch=3"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "There is no setting trainer.epoch. Did you mean trainer.epochs?" in done.stderr
    assert "Traceback" not in done.stderr
