"""Composition of configurations from conf/, with error messages for mistakes on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nnrec.core.config.validate import meant
from nnrec.core.errors import ConfigError

# Renamed choices (group=choice) and settings (key), old -> new, written as on the command line.
RENAMED = {
    "evaluation=clicks": "evaluation=ctr",
    "trainer=clicks": "trainer=ctr",
}


def config_folder() -> Path:
    """Returns the path of conf/: beside the package in a checkout, inside the package if it is installed."""
    package = Path(__file__).resolve().parents[2]
    beside = package.parent / "conf"
    return beside if (beside / "train.yaml").is_file() else package / "conf"


def compose(name: str, overrides: Sequence[str] = ()) -> Any:
    """Returns the configuration that the command line would compose from these overrides.

    Args:
        name: "train", "predict", "export" or "compare".
        overrides: as on the command line, such as "model=autorec" or "trainer.epochs=5".

    Raises:
        ConfigError: an override is invalid.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    check_choices(overrides)
    # Within another Hydra application (compare.py, or a user's program), the state of that one is restored afterwards.
    own = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose(name, list(map(quoted, overrides)))
    except HydraException as error:
        mistake = error
    finally:
        GlobalHydra.instance().hydra = own
    raise ConfigError(explain(mistake, name, overrides)) from mistake


def explain(error: Exception, name: str, overrides: Sequence[str]) -> str:
    """Converts a Hydra error into a message for the user.

    Args:
        error: error raised while a configuration was composed.
        name: name of the configuration, such as "train".
        overrides: overrides on the command line.
    """
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        problem = " ".join(error.message.partition("See https:")[0].split())
        return (
            f"{error.override!r} cannot be read: {problem}. Settings are written key=value; what holds brackets, "
            "commas or quotes goes between quotes, such as 'model.hidden_units=[600,100]' or "
            "'data.source.user=\"last, first\"'."
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.strip("/").rpartition("/")
        if f"{group}={choice}" in RENAMED:
            return _renamed(f"{group}={choice}")
        options = [option for option in error.options if not option.startswith("_")]
        return f"There is no {group}={choice}.{meant(choice, options)} There are: {', '.join(options)}."
    key = re.match(r"Could not (?:override|delete)[^']*'([^']+)'", str(error))
    if key is None:
        return " ".join(f"{error} {error.__cause__ or ''}".split())
    if key[1] in RENAMED:
        return _renamed(key[1])
    return f"There is no setting {key[1]}.{meant(key[1], _known(name, key[1], overrides))} --help lists all settings."


def hide_bases() -> None:
    """Hides bases (files whose name starts with `_`) from Hydra's completion and from `-m 'model=glob(*)'`."""
    from hydra._internal import config_loader_impl, hydra

    class Loader(config_loader_impl.ConfigLoaderImpl):
        def get_group_options(self, *args: Any, **kwargs: Any) -> list[str]:
            return [name for name in super().get_group_options(*args, **kwargs) if not name.startswith("_")]

    vars(hydra)["ConfigLoaderImpl"] = Loader


def check_choices(overrides: Sequence[str]) -> None:
    """Checks that no base is chosen: a file whose name starts with `_`, which holds settings shared by other files.

    Raises:
        ConfigError: a base is chosen.
    """
    for override in overrides:
        group, _, choice = override.lstrip("+").partition("=")
        if choice.startswith("_") and (config_folder() / group / f"{choice}.yaml").is_file():
            raise ConfigError(f"{group}={choice} cannot be chosen: conf/{group}/{choice}.yaml is a part of others.")


def _renamed(old: str) -> str:
    return f"{old} is now called {RENAMED[old]}."


def quoted(override: str) -> str:
    """Puts the value of an override in quotes if Hydra's grammar cannot parse it, such as `separator=;`.

    Other overrides are returned unchanged; so are values with brackets or quotes, where a mistake is more likely.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, equals, value = override.partition("=")
    if not equals or not value or set(value) & set("[]{}'\"\\"):
        return override
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return f'{key}="{value}"'
    return override


def _known(name: str, key: str, overrides: Sequence[str]) -> list[str]:
    """Returns the keys of all settings and groups of a configuration, composed without the wrong override."""
    from omegaconf import OmegaConf

    others = [text for text in overrides if text.lstrip("+~").partition("=")[0] != key]
    try:
        config = compose(name, others)
    except ConfigError:
        config = compose(name)
    folder = config_folder()
    groups = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_dir()]
    return [*_keys(OmegaConf.to_container(config)), *groups]


def _keys(settings: Any, above: str = "") -> Iterator[str]:
    for key, value in settings.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{key}.")
