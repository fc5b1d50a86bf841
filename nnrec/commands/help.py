"""The pages of `--help`, for a command, a group or a choice; generated from conf/ at each call."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from nnrec.core.calling import typed
from nnrec.core.config.choices import Choice, Groups, Setting
from nnrec.core.config.compose import config_folder
from nnrec.core.config.validate import meant
from nnrec.core.errors import ConfigError
from nnrec.data.families import IMPRESSIONS, RATINGS, SESSIONS

WIDTH = 120
# Headings of the choices of each data family, in this order.
FAMILIES = {
    RATINGS.name: "for ratings and likes",
    SESSIONS.name: "for sessions",
    IMPRESSIONS.name: "for impressions (click-through)",
    "": "others",
}
# The last column in which comments next to settings may start.
COMMENTS_AT = 44
# The groups that a command's page lists, in this order, and their headings.
HEADINGS = {
    "model": "Models: model=",
    "data": "Data sets: data=",
    "split": "Splits: split=",
    "evaluation": "Evaluations: evaluation=",
    "trainer": "Trainers: trainer=",
}


def show(config: str, arguments: Sequence[str], called: str, note: str = "") -> None:
    """Prints the help for a command line.

    Args:
        config: the name of the command's configuration, such as "train".
        arguments: the arguments of the command line, including `--help`. For each choice or group among them, its page
            is printed; if there are none, the page of the command.
        called: how the user called the command, such as "python train.py".
        note: shown instead of the configuration's examples; `{}` in it is replaced by `called`.

    Raises:
        ConfigError: a group or a choice does not exist.
    """
    folders = [config_folder()]
    words = []
    following = iter(arguments)
    for word in following:
        if word in ("--config-dir", "-cd"):
            folders.insert(0, Path(next(following, ".")))
        elif word.startswith("--config-dir="):
            folders.insert(0, Path(word.partition("=")[2]))
        elif not word.startswith("-"):
            words.append(word)
    groups, command = Groups(*folders), Choice(config_folder() / f"{config}.yaml")
    pages = [page for word in words for page in _asked_for(word, groups, command)]
    for page in pages or [_command(command, groups, called, note)]:
        print(*(line.rstrip() for line in page), sep="\n", end="\n\n" if len(pages) > 1 else "\n")


def _asked_for(word: str, groups: Groups, command: Choice) -> list[Iterator[str]]:
    """Returns the page of a choice (`model=ease`) or of a group (`model`), nothing for a setting."""
    group, equals, name = word.lstrip("+").partition("=")
    group, names = group.partition("@")[0], groups.names()
    if group in names:
        return [_choice(groups.choice(group, name)) if equals and name != "null" else _group(group, groups)]
    settings = [setting.key for setting in command.own_settings() if isinstance(setting, Setting)]
    top = group.partition(".")[0]
    if top not in [*names, *(key.partition(".")[0] for key in settings)] and not word.startswith(("+", "~")):
        raise ConfigError(f"There is no group or setting {group}.{meant(group, [*names, *settings])}")
    return []


def _choice(choice: Choice) -> Iterator[str]:
    """Yields the lines of the page of a choice."""
    yield f"{choice.group}={choice.name}" + (f"  {FAMILIES[choice.family]}" if choice.family else "")
    yield ""
    yield from choice.header
    if choice.brings:
        along = " ".join(f"{group}={name}" for group, name in choice.brings.items())
        yield from textwrap.wrap(
            f"Unless the command line says otherwise, it brings along: {along}", WIDTH, break_on_hyphens=False
        )
    settings = choice.settings()
    if settings:
        yield ""
        yield from _settings(settings, choice.prefix)
    yield ""
    yield f"From {choice.path}" + (f"; more in the docstring of {choice.target}" if choice.target else "")


def _group(group: str, groups: Groups) -> Iterator[str]:
    """Yields the lines of the page of a group: one line per choice."""
    yield f"{group}=..."
    yield from _by_family(groups.choices(group), _lines)
    yield ""
    yield f"--help {group}=<name> shows the settings of one."


def _command(command: Choice, groups: Groups, called: str, note: str) -> Iterator[str]:
    """Yields the lines of the page of a command: examples, choices, settings."""
    yield from (note.format(called) if note else _examples(command)).splitlines()
    listed = [group for group in _groups_of(command) if group in groups.names()]
    for group, heading in HEADINGS.items():
        if group not in listed:
            continue
        yield ""
        yield f"== {heading} =="
        choices = groups.choices(group)
        yield from _by_family(choices, _lines if group in ("model", "evaluation", "trainer") else _names)
    yield ""
    yield "== Settings: key=value =="
    yield from _settings([*command.own_settings()], "")
    if listed:
        yield ""
        shown = [group for group in groups.names() if group.partition("/")[0] in listed]
        yield from _in_columns(
            [
                f"{called} --help data=table  the settings of a choice; likewise of any other group=choice",
                f"{called} --help split  the choices of a group, a line each; there are:",
            ]
        )
        yield from textwrap.wrap(", ".join(shown), WIDTH, initial_indent="  ", subsequent_indent="  ")


def _groups_of(command: Choice) -> Iterator[str]:
    """Yields the groups in the defaults lists of a command and of the configurations it builds on."""
    for parent in command.parents:
        yield from _groups_of(parent)
    yield from command.brings


def _examples(command: Choice) -> str:
    """Returns the text in the configuration's hydra.help, with commands written as the user calls them."""
    text = command.text("template").replace("${hydra.help.header}", command.text("header"))
    text = re.sub(r"python (\w+)\.py", lambda match: typed(match[1]), text)
    if typed("train") == "nnrec train":
        text = text.replace("python -m nnrec.spark", "nnrec spark")
    return "\n".join(_in_columns(text.splitlines()))


def _in_columns(lines: list[str]) -> Iterator[str]:
    """Aligns the second column of lines, which follows the first run of two or more blanks."""
    pairs = [re.split(r"  +", line, maxsplit=1) for line in lines]
    width = max((len(pair[0]) for pair in pairs if len(pair) > 1), default=0)
    for first, *second in pairs:
        yield f"{first:{width}}  {second[0]}" if second else first


def _by_family(
    choices: Sequence[Choice], lines: Callable[[Sequence[Choice], str, int], Iterator[str]]
) -> Iterator[str]:
    """Yields the lines of choices, grouped by data family; `lines` formats a group."""
    width = max(len(choice.name) for choice in choices) + 4
    found: dict[str, list[Choice]] = {family: [] for family in FAMILIES}
    for choice in choices:
        found.get(choice.family, found[""]).append(choice)
    of_none = found[""] == [*choices]
    for family, heading in FAMILIES.items():
        if found[family]:
            yield from lines(found[family], "" if of_none else heading, width)


def _lines(choices: Sequence[Choice], heading: str, width: int) -> Iterator[str]:
    """Yields one line per choice, followed by the lines of its variants."""
    if heading:
        yield f"{heading}:"
    names = [choice.name for choice in choices]
    for choice in choices:
        if choice.variant_of in names:
            continue
        yield _line(f"  {choice.name}", choice.about, width)
        for variant in choices:
            if variant.variant_of == choice.name:
                yield _line(f"    {variant.name}", variant.about, width)


def _line(name: str, about: str, width: int) -> str:
    """Returns the name, padded to `width` columns, and the description, shortened to fit the page."""
    room = WIDTH - width - 2
    return f"{name:{width}}  {about if len(about) <= room else textwrap.shorten(about, room, placeholder=' ...')}"


def _names(choices: Sequence[Choice], heading: str, _: int) -> Iterator[str]:
    """Yields the names of choices, comma-separated and wrapped."""
    text = ", ".join(choice.name for choice in choices)
    start = f"{heading}: " if heading else "  "
    yield from textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent="  ", break_on_hyphens=False)


def _settings(settings: Iterable[Setting | str], prefix: str) -> Iterator[str]:
    """Yields the lines of settings in two columns: `key=value` and the comment."""
    settings = list(settings)
    written = [f"{prefix}{s.key}={s.value}" for s in settings if isinstance(s, Setting)]
    width = min(max(map(len, written), default=0), COMMENTS_AT)
    for setting in settings:
        if isinstance(setting, str):
            yield setting
            continue
        text = f"{prefix}{setting.key}={setting.value}"
        lines = textwrap.wrap(setting.comment, WIDTH - width - 2) or [""]
        if len(text) > width and setting.comment:
            yield text
            text = ""
        yield f"{text:{width}}  {lines[0]}"
        yield from (f"{'':{width}}  {line}" for line in lines[1:])
