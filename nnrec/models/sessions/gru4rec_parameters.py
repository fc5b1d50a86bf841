"""Reads settings of GRU4Rec in its authors' formats, so that their tuned settings can be used unchanged."""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnrec.core.errors import ConfigError


def settings(text: str) -> dict[str, dict[str, Any]]:
    """Translates the authors' settings to those of nnrec.

    Args:
        text: "name=value,name=value", with sizes of layers separated by "/"; or the path of a parameter file, a Python
            program that assigns an OrderedDict, or a dict, to `gru4rec_params`; or the content of such a file. No code
            in it is executed.

    Returns:
        {"model": settings of `GRU4Rec`, "trainer": settings of `nnrec.training.Trainer`}; settings that the text does
        not contain have the defaults of the authors' PyTorch program.

    Raises:
        ConfigError: the text cannot be read, or contains unknown settings or values.
    """
    pairs = _pairs(text)
    unknown = [name for name in pairs if name not in KNOWN]
    if unknown:
        near = difflib.get_close_matches(unknown[0], KNOWN, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"model.parameters: there is no {unknown[0]!r}. Did you mean {near}? Known: {', '.join(KNOWN)}."
        )
    found: dict[str, Any] = {}
    for name, value in pairs.items():
        try:
            found[name] = KNOWN[name](value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"model.parameters: {name} cannot be {value!r}. {error}".rstrip()) from error
    return _translated(DEFAULTS | found)


def _translated(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    trainer: dict[str, Any] = {
        "optimizer": "adagrad",
        "optimizer_options": {"momentum": found.pop("momentum")},
        "schedule": {"_target_": "nnrec.training.Constant"},
    }
    trainer |= {ours: found.pop(theirs) for theirs, ours in TRAINER.items()}
    for name, right in FIXED.items():
        if found.pop(name, right) != right:
            raise ConfigError(f"model.parameters: {name} can only be {right} here.")
    final = found.pop("final_act", None)
    if final is not None:
        found["elu_param"] = final
    found["hidden_units"] = found.pop("layers")
    if found["embedding"] == "layersize":
        found["embedding"] = found["hidden_units"][0]
    return {"model": found, "trainer": trainer}


def _pairs(text: str) -> dict[str, Any]:
    """Returns names and values; values are strings or Python literals."""
    if "gru4rec_params" not in text and "=" in text and not text.rstrip().endswith(".py"):
        parts = [part.partition("=") for part in text.split(",") if part.strip()]
        wrong = [name for name, equals, _ in parts if not equals]
        if wrong:
            raise ConfigError(f"model.parameters: expected name=value, apart by commas. Received: {wrong[0]!r}")
        return {name.strip(): value.strip() for name, _, value in parts}
    if "gru4rec_params" in text:
        return _assigned(text, "model.parameters")
    try:
        return _assigned(Path(text).read_text(), text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"model.parameters: {text!r} is neither a file that can be read nor name=value, apart by commas. ({error})"
        ) from error


def _assigned(source: str, where: str) -> dict[str, Any]:
    """Returns the literal that a Python program assigns to gru4rec_params."""
    try:
        for statement in ast.parse(source).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="gru4rec_params")], value=ast.Call(args=[pairs], keywords=[])):
                    return dict(ast.literal_eval(pairs))
                case ast.Assign(targets=[ast.Name(id="gru4rec_params")], value=value):
                    return dict(ast.literal_eval(value))
    except (SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: gru4rec_params is not a plain OrderedDict of settings. ({error})") from error
    raise ConfigError(f"{where}: assigns nothing to gru4rec_params.")


def _flag(value: Any) -> bool:
    if str(value) not in ("True", "False", "1", "0"):
        raise ValueError("Write True or False.")
    return str(value) in ("True", "1")


def _integer(value: Any) -> int:
    if float(value) != int(float(value)):
        raise ValueError("It is not an integer.")
    return int(float(value))


def _number(value: Any) -> float:
    if not math.isfinite(float(value)):
        raise ValueError("It is not a number.")
    return float(value)


def _sizes(value: Any) -> tuple[int, ...]:
    parts = value.split("/") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    return tuple(map(_integer, parts))


def _embedding(value: Any) -> int | str:
    return "layersize" if value == "layersize" else _integer(value)


def _final_activation(value: Any) -> float:
    """Returns the elu_param that corresponds to the authors' final activation."""
    if value in ("linear", "softmax", "softmax_logit"):
        return 0.0
    if not str(value).startswith("elu-"):
        raise ValueError("Here it is linear, softmax or elu-X.")
    return _number(str(value).removeprefix("elu-"))


# The authors' settings, with the functions that convert their values.
KNOWN: dict[str, Callable[[Any], Any]] = {
    "layers": _sizes,
    "loss": lambda value: {"xe_logit": "cross-entropy"}.get(str(value), str(value)),
    "constrained_embedding": _flag,
    "embedding": _embedding,
    "n_sample": _integer,
    "sample_alpha": _number,
    "logq": _number,
    "bpreg": _number,
    "elu_param": _number,
    "final_act": _final_activation,
    "hidden_act": str,
    "dropout_p_embed": _number,
    "dropout_p_hidden": _number,
    "train_random_order": _flag,
    "batch_size": _integer,
    "learning_rate": _number,
    "momentum": _number,
    "n_epochs": _integer,
    "adapt": str,
    "time_sort": _flag,
    "lmbd": _number,
    "grad_cap": _number,
    "smoothing": _number,
}
DEFAULTS = {
    "layers": (100,), "loss": "cross-entropy", "batch_size": 64, "dropout_p_embed": 0.0, "dropout_p_hidden": 0.0,
    "learning_rate": 0.05, "momentum": 0.0, "sample_alpha": 0.5, "n_sample": 2048, "embedding": 0,
    "constrained_embedding": True, "n_epochs": 10, "bpreg": 1.0, "elu_param": 0.5, "logq": 0.0,
}  # fmt: skip
TRAINER = {"batch_size": "batch_size", "learning_rate": "learning_rate", "n_epochs": "epochs"}
# The authors' settings of which nnrec supports a single value.
FIXED = {"hidden_act": "tanh", "adapt": "adagrad", "time_sort": True, "lmbd": 0.0, "grad_cap": 0.0, "smoothing": 0.0}
