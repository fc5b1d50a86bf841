"""What is wrong with a command line, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nnrec.core.errors import ConfigError

# How the values of a type are called.
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}


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
