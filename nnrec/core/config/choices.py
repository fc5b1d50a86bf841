"""The content of conf/, parsed line by line from its files: groups, choices, settings and their comments.

The files are not parsed as YAML, because that is too slow for `--help` and loses the comments.

The first line of a file is a comment that describes it. Files of models, splits and evaluations name their data family
in a later line of this comment (`# Family: sessions`), files of data sets in their setting `family`. Files whose names
start with `_` are bases that other files build on; they cannot be chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from nnrec.core.config.validate import meant
from nnrec.core.errors import ConfigError

# `key: value  # comment`
_SETTING = re.compile(r"( *)([^\s#:'\"-][^\s#:]*):(?: +(?!#)(.*?))??(?: +# ?(.*))?$")
# Top-level keys that are not settings of the user.
_NOT_SHOWN = ("defaults", "hydra")


class Setting(NamedTuple):
    """A setting with its default value as written in the file, and the comment after it."""

    key: str
    value: str
    comment: str


class Choice:
    """A file of a group, such as conf/model/autorec.yaml.

    Args:
        path: the file.
        group: group of the choice, such as "model"; "" = the file is the configuration of a command instead.
    """

    def __init__(self, path: Path, group: str = "") -> None:
        self.path, self.group, self.name = path, group, path.stem
        self._lines = path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def header(self) -> list[str]:
        """The lines of the comment at the top, without the machine-readable ones (`@package`, `Family:`)."""
        return [line for line in self._comment() if not re.match(r"@package |Family: ", line)]

    @property
    def about(self) -> str:
        """The description in one line."""
        return self.header[0] if self.header else ""

    @cached_property
    def family(self) -> str:
        """The data family: "ratings", "sessions", "impressions", or "" if none is named."""
        for line in [*self._comment(), *self._lines]:
            if found := re.match(r"(?:Family|family): (\w+)", line):
                return "" if found[1] == "null" else found[1]
        return next((parent.family for parent in self.parents if parent.family), "")

    @cached_property
    def parents(self) -> list[Choice]:
        """The files of the same group in its defaults list."""
        names = [found[1] for line in self._defaults() if (found := re.match(r"(\w[\w-]*)$", line))]
        paths = [self.path.with_name(f"{name}.yaml") for name in names if name != "_self_"]
        return [Choice(path, self.group) for path in paths if path.is_file()]

    @property
    def variant_of(self) -> str:
        """The choice that this one is a variant of, or "". Files based on `default` or on a base are not variants."""
        return next((parent.name for parent in self.parents if not re.match("_|default$", parent.name)), "")

    @cached_property
    def brings(self) -> dict[str, str]:
        """The choices of other groups in its defaults list: group -> name."""
        found: dict[str, str] = {}
        for parent in self.parents:
            found |= parent.brings
        for line in self._defaults():
            if match := re.match(r"(?:override |optional )?(/?)([\w/]+)(?:@\S+?)?: (\S+)", line):
                group = match[2] if match[1] or not self.group else f"{self.group}/{match[2]}"
                found[group] = match[3]
        return found

    @property
    def target(self) -> str:
        """The import path in `_target_`, its own or of a parent; "" if there is none."""
        found = (match[1] for line in self._lines if (match := re.match(r"_target_: (\S+)", line)))
        return next(found, "") or next((parent.target for parent in self.parents if parent.target), "")

    @cached_property
    def prefix(self) -> str:
        """The prefix of its settings on the command line, such as "model."."""
        package = next((line for line in self._comment() if line.startswith("@package ")), "")
        if not self.group or "_global_" in package:
            return ""
        return f"{self.group.replace('/', '.')}."

    def text(self, key: str) -> str:
        """Returns the block of text below `key: |`, "" if there is no such key."""
        lines = iter(self._lines)
        head = next((line for line in lines if line.strip() == f"{key}: |"), None)
        if head is None:
            return ""
        deeper = " " * (len(head) - len(head.lstrip()) + 1)
        return dedent("\n".join(takewhile(lambda line: not line or line.startswith(deeper), lines))).strip()

    def settings(self) -> list[Setting | str]:
        """Returns its settings, including those of its parents, and the comment lines between them."""
        found: list[Setting | str] = []
        for parent in self.parents:
            _take_over(found, parent.settings())
        _take_over(found, list(self.own_settings()))
        return found

    def own_settings(self) -> Iterator[Setting | str]:
        """Yields the settings of the file itself and the comment lines between them."""
        above: list[tuple[int, str]] = []
        lines = self._lines[len(self._comment()) :]
        told: set[int] = set()  # lines that continue the comment of the line above
        for number, line in enumerate(lines):
            if line.lstrip().startswith("#"):
                if number not in told and (not above or above[0][1] not in _NOT_SHOWN):
                    yield line.strip()
                continue
            match = _SETTING.match(line)
            if match is None:
                continue
            depth, key, value, comment = len(match[1]), match[2], match[3], match[4] or ""
            above = [(d, k) for d, k in above if d < depth] + [(depth, key)]
            if above[0][1] in _NOT_SHOWN or key == "_target_":
                continue
            if comment:
                for further in range(number + 1, len(lines)):
                    if not (more := re.match(r"( +)# *(.*)", lines[further])) or len(more[1]) <= depth:
                        break
                    comment = f"{comment} {more[2]}"
                    told.add(further)
            if value is None:
                value = _list_below(lines[number + 1 :])
                if not value:  # the parent key of the settings below it
                    if comment:
                        yield f"# {'.'.join(k for _, k in above)}: {comment}"
                    continue
            yield Setting(".".join(k for _, k in above), value, comment)

    def _comment(self) -> list[str]:
        """Returns the lines of the comment at the top."""
        found = []
        for line in self._lines:
            if not line.startswith("#"):
                break
            found.append(line.removeprefix("#").removeprefix(" "))
        return found

    def _defaults(self) -> list[str]:
        """Returns the entries of the defaults list, without comments."""
        found: list[str] = []
        listing = False
        for line in self._lines:
            if line.startswith("defaults:"):
                listing = True
            elif listing and (match := re.match(r" *- (.*?)(?: +#.*)?$", line)):
                found.append(match[1])
            elif listing and line and not line.startswith((" ", "#")):
                break
        return found


class Groups:
    """The groups of one or more configuration folders; a file in an earlier folder replaces one of the same name.

    Args:
        folders: configuration folders, each with a subfolder per group.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def names(self) -> list[str]:
        """Returns all groups, such as "model" and "trainer/schedule"."""
        found = {
            str(path.parent.relative_to(folder)) for folder in self.folders for path in folder.rglob("*/*.yaml")
        }  # fmt: skip
        return sorted(name for name in found if not name.startswith("hydra"))

    def choices(self, group: str) -> list[Choice]:
        """Returns the choices of a group, sorted by name."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in (folder / group).glob("[!_]*.yaml"):
                found.setdefault(path.stem, path)
        return [Choice(found[name], group) for name in sorted(found)]

    def choice(self, group: str, name: str) -> Choice:
        """Returns the choice of a group with this name.

        Raises:
            ConfigError: there is none.
        """
        for folder in self.folders:
            if (folder / group / f"{name}.yaml").is_file():
                return Choice(folder / group / f"{name}.yaml", group)
        names = [choice.name for choice in self.choices(group)]
        raise ConfigError(f"There is no {group}={name}.{meant(name, names)} There are: {', '.join(names)}.")


def _take_over(found: list[Setting | str], more: list[Setting | str]) -> None:
    """Merges settings into `found`; a repeated setting keeps its place, and its comment if there is no new one.

    Settings of a group replace a single setting with the group's name (such as `source: ???` of a base).
    """
    heads = {setting.key.rpartition(".")[0] for setting in more if isinstance(setting, Setting)}
    found[:] = [setting for setting in found if isinstance(setting, str) or setting.key not in heads]
    places = {setting.key: place for place, setting in enumerate(found) if isinstance(setting, Setting)}
    for setting in more:
        if isinstance(setting, Setting) and setting.key in places:
            before = found[places[setting.key]]
            assert isinstance(before, Setting)
            found[places[setting.key]] = setting._replace(comment=setting.comment or before.comment)
        else:
            found.append(setting)


def _list_below(lines: list[str]) -> str:
    """Returns the YAML list in the next lines in one-line form, "" if there is none."""
    items = []
    for line in lines:
        match = re.match(r" *- (.*?)(?: +#.*)?$", line)
        if not match:
            break
        items.append(match[1])
    return f"[{','.join(items)}]" if items else ""
