"""The form in which the user starts nnrec's commands, so that messages can show what to type."""

from __future__ import annotations

from pathlib import Path

# "python {}.py" from the scripts of a checkout, "nnrec {}" or "python -m nnrec {}" where the package is installed.
SCRIPTS = "python {}.py"
CONSOLE = "nnrec {}"
_way: str | None = None


def started_by(way: str) -> None:
    """Sets how commands are started: `SCRIPTS`, `CONSOLE` or another format in which `{}` is the command's name."""
    global _way
    _way = way


def typed(command: str) -> str:
    """Returns the text that starts a command: "python train.py", or "nnrec train"."""
    if _way is not None:
        return _way.format(command)
    in_checkout = (Path(__file__).resolve().parents[2] / "train.py").is_file()
    return (SCRIPTS if in_checkout else CONSOLE).format(command)
