"""The command line: the commands, each run as a Hydra application."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, NamedTuple

from nnrec.core.calling import SCRIPTS, started_by, typed
from nnrec.core.errors import NnrecError


class Command(NamedTuple):
    """A command of the command line.

    Attributes:
        about: description in one line.
        config: the name of its configuration in conf/.
        execute: runs the command on a composed configuration.
        note: text that --help shows instead of the examples in the configuration.
    """

    about: str
    config: str
    execute: Callable[[Any], Any]
    note: str = ""


def train(config: Any) -> str:
    """Trains a model; returns the path of the run folder."""
    from nnrec.commands.train import execute

    return str(execute(config).path)


def predict(config: Any) -> None:
    """Recommends from a finished run."""
    from nnrec.commands.predict import execute

    execute(config)


def compare(config: Any) -> None:
    """Compares runs or models."""
    from hydra.core.hydra_config import HydraConfig

    from nnrec.commands.compare import execute

    execute(config, list(HydraConfig.get().overrides.task))


def export(config: Any) -> None:
    """Writes a model for serving."""
    from nnrec.commands.export import execute

    execute(config)


def prepare(config: Any) -> None:
    """Writes a log as shards."""
    from nnrec.commands.prepare import execute

    execute(config)


COMMANDS = {
    "train": Command("train a recommender, test it, keep it in a run folder; -m: grids and searches", "train", train),
    "predict": Command("write top-N lists, or a prediction for each row, from a finished run", "predict", predict),
    "compare": Command("set finished runs, or models that it trains, side by side", "compare", compare),
    "export": Command("write a model as a SavedModel or as ONNX, for servers", "export", export),
    "prepare": Command("read a log, filter and split it, and write shards to train from", "prepare", prepare),
}  # fmt: skip


@contextmanager
def report_errors() -> Iterator[None]:
    """Turns an `NnrecError` into a message on stderr and exit status 1."""
    try:
        yield
    except NnrecError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted.")


def script(name: str) -> None:
    """Runs a command as its script in the root of a checkout does: `python train.py ...`."""
    started_by(SCRIPTS)
    _run(COMMANDS[name], typed(name))


def main(commands: Mapping[str, Command], program: str) -> None:
    """Runs the command named by the first words of the command line, or lists the commands.

    Args:
        commands: the commands by name; a name may consist of two words.
        program: the name of the program, such as "nnrec".
    """
    words = sys.argv[1:]
    name = _named(words, commands)
    if name is not None:
        del sys.argv[1 : 1 + len(name.split())]
        _run(commands[name], f"{program} {name}")
    elif {"-sc", "--shell_completion"} & set(words):
        _complete(commands, program)
    elif words == ["--version"]:
        from importlib.metadata import version

        print(f"nnrec {version('nnrec')}")
    else:
        _list(words, commands, program)


def _named(words: list[str], commands: Mapping[str, Command]) -> str | None:
    return next((name for name in commands if words[: len(name.split())] == name.split()), None)


def _list(words: list[str], commands: Mapping[str, Command], program: str) -> None:
    """Lists the commands whose names start with these words; without a match, exits with a suggestion."""
    given = list(takewhile(lambda word: not word.startswith("-"), words))
    options = words[len(given) :]
    listed = {name: command for name, command in commands.items() if name.split()[: len(given)] == given}
    if listed and set(options) <= {"--help", "-h"}:
        print(f"{' '.join([program, *given])} <command> [key=value ...]\n")
        width = max(map(len, listed)) + 2
        for name, command in listed.items():
            print(f"  {name:{width}}{command.about}")
        print(f"\n{program} <command> --help shows examples and all settings of a command.")
        return
    from nnrec.core.config.validate import meant

    firsts = list(dict.fromkeys(name.split()[0] for name in commands))
    if not given:
        told = f"{options[0]} comes after a command: {program} {firsts[0]} {' '.join(options)}."
    elif "=" in given[0]:
        told = f"Settings come after a command: {program} {firsts[0]} {' '.join(words)}."
    elif given[0] in firsts:  # the first word of a two-word command, with the second wrong or missing
        told = f"There is no command {' '.join(given[:2])}.{meant(' '.join(given[:2]), list(listed or commands))}"
    else:
        told = f"There is no command {given[0]}.{meant(given[0], firsts)}"
    print(f"error: {told} There are: {', '.join(commands)}.", file=sys.stderr)
    sys.exit(2)


def _complete(commands: Mapping[str, Command], program: str) -> None:
    """Prints shell completions: the names of commands or, after a command, those of Hydra."""
    line = os.environ.get("COMP_LINE", "")
    first, *words = line.split() or [""]
    *whole, begun = words if words and not line.endswith(" ") else [*words, ""]
    name = _named(whole, commands)
    installs = not any(word.startswith("query=") for word in sys.argv)
    if name is not None or installs:
        name = name or next(iter(commands))
        os.environ["COMP_LINE"] = " ".join([first, *whole[len(name.split()) :], begun])
        _run(commands[name], f"{program} {name}")
        return
    nexts = [name.split()[len(whole)] for name in commands if name.split()[: len(whole)] == whole]
    print(" ".join(word for word in dict.fromkeys(nexts) if word.startswith(begun)))


def _run(command: Command, called: str) -> None:
    """Runs a command as a Hydra application; errors in the command line exit with a suggested correction.

    Args:
        command: the command, run with the arguments in `sys.argv`.
        called: the command as the user typed it, such as "nnrec train".
    """
    if {"--help", "-h"} & set(sys.argv[1:]):
        from nnrec.commands.help import show

        with report_errors():
            try:
                show(command.config, sys.argv[1:], called, command.note)
                sys.stdout.flush()
            except BrokenPipeError:  # as with `--help | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from nnrec.core.config.compose import check_choices, config_folder, explain, hide_bases, quoted

    def application(config: Any) -> Any:
        with report_errors():
            return command.execute(config)

    hide_bases()
    sys.argv[1:] = [text if text.startswith("-") else quoted(text) for text in sys.argv[1:]]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing them
    with report_errors():
        check_choices(sys.argv[1:])
        try:
            hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=command.config)(application)()
        except (HydraException, OmegaConfBaseException) as error:
            overrides = [text for text in sys.argv[1:] if "=" in text and not text.startswith("-")]
            sys.exit(f"error: {explain(error, command.config, overrides)}")
