"""What is wrong with a command line, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nnrec.errors import ConfigError

# How the values of a type are called.
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}

# What has another name since: choices as group=choice, settings by their key. Both are written as on the command line.
RENAMED = {
    "evaluation=clicks": "evaluation=ctr",
    "trainer=clicks": "trainer=ctr",
}


def explain(error: Exception, name: str, overrides: Sequence[str]) -> str:
    """An error of Hydra's in words for the person at the keyboard.

    Args:
        error: raised while a configuration was composed.
        name: the configuration, such as "train".
        overrides: of the command line.
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


def check_choices(overrides: Sequence[str]) -> None:
    """Makes sure that no base is chosen: a file whose name begins with `_` holds what others have in common.

    Raises:
        ConfigError: one is.
    """
    from nnrec.config import config_folder

    for override in overrides:
        group, _, choice = override.lstrip("+").partition("=")
        if choice.startswith("_") and (config_folder() / group / f"{choice}.yaml").is_file():
            raise ConfigError(f"{group}={choice} cannot be chosen: conf/{group}/{choice}.yaml is a part of others.")


def _renamed(old: str) -> str:
    return f"{old} is now called {RENAMED[old]}."


def quoted(override: str) -> str:
    """An override whose value Hydra's grammar has no word for, such as `separator=;`, with the value in quotes.

    Any other is as it was, and so is one that holds brackets or quotes: there a mistake is more likely.
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


def meant(word: str, known: Sequence[str]) -> str:
    """The question whether what is most like a word was meant, after a blank; nothing where nothing is like it.

    A key whose last part is the word counts too: `epochs` may mean `trainer.epochs`.
    """
    last = word.rpartition(".")[2]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    near += [key for key in known if key.rpartition(".")[2] == last]
    near += difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""


def check_values(target: Any, settings: Any, key: str) -> None:
    """Makes sure that the settings of what is about to be called are of the kinds that it declares.

    Only plain kinds are looked at: numbers, text, true and false, null, and choices among some words.

    Args:
        target: a class or a function.
        settings: names and values of its arguments.
        key: what they stand under, for messages.

    Raises:
        ConfigError: one is of another kind.
    """
    try:
        declared = get_type_hints(vars(target)["__init__"] if isinstance(target, type) else target)
    except (KeyError, NameError, TypeError):  # nothing declared, or names that are only there for type checkers
        return
    for name, value in settings.items():
        kinds = [*_kinds(declared[name])] if name in declared else []
        if not kinds or None in kinds or not (value is None or isinstance(value, (bool, int, float, str))):
            continue
        if not any(_is(value, kind) for kind in kinds):
            words = [kind for kind in kinds if isinstance(kind, str)]
            ways = [KINDS[kind] for kind in kinds if isinstance(kind, type)]
            ways += [f"one of {', '.join(words)}" if len(words) > 1 else words[0]] if words else []
            hint = meant(value, words) if isinstance(value, str) else ""
            raise ConfigError(f"{key}.{name} must be {' or '.join(ways)}. Received: {value!r}.{hint}")


def _kinds(declared: Any) -> Iterator[Any]:
    """The plain kinds and words that a declaration allows, None for anything else."""
    import types
    import typing

    if get_origin(declared) in (typing.Union, types.UnionType):
        for part in get_args(declared):
            yield from _kinds(part)
    elif get_origin(declared) is Literal:
        yield from get_args(declared)
    else:
        yield declared if declared in KINDS else None


def _is(value: Any, kind: Any) -> bool:
    if not isinstance(kind, type):
        return bool(value == kind)
    if kind is float:
        kind = (int, float)
    return isinstance(value, kind) and (isinstance(value, bool) <= (kind is bool))


def _known(name: str, key: str, overrides: Sequence[str]) -> list[str]:
    """The settings and groups that there are when the mistaken override is left out."""
    from omegaconf import OmegaConf

    from nnrec.config import compose, config_folder

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
