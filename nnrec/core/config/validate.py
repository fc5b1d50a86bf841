"""Checks of settings, and suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nnrec.core.errors import ConfigError

# Names of types in error messages.
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}


def meant(word: str, known: Sequence[str]) -> str:
    """Returns " Did you mean X?" with the known name most similar to a word, "" if none is similar.

    A key whose last part equals that of the word is similar too: `epochs` may mean `trainer.epochs`.
    """
    last = word.rpartition(".")[2]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    near += [key for key in known if key.rpartition(".")[2] == last]
    near += difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""


def check_values(target: Any, settings: Any, key: str) -> None:
    """Checks that settings have the types that a class or function declares for its arguments.

    Only plain types are checked: numbers, text, booleans, null, and literals.

    Args:
        target: a class or a function.
        settings: argument name -> value.
        key: name of the configuration group, for error messages.

    Raises:
        ConfigError: a setting has another type.
    """
    try:
        declared = get_type_hints(vars(target)["__init__"] if isinstance(target, type) else target)
    except (KeyError, NameError, TypeError):  # no type hints, or names imported only for type checkers
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
    """Yields the plain types and literal values that a type hint allows, None for any other type."""
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
