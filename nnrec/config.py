"""Configurations: composing them from conf/ and building what they describe."""

from __future__ import annotations

import pydoc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnrec.errors import ConfigError, NnrecError
from nnrec.mistakes import check_choices, check_values, explain, quoted


def config_folder() -> Path:
    """Where conf/ lies: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).resolve().parent
    beside = package.parent / "conf"
    return beside if (beside / "train.yaml").is_file() else package / "conf"


def compose(name: str, overrides: Sequence[str] = ()) -> Any:
    """The configuration that the command line would compose from these overrides.

    Args:
        name: "train", "predict", "export" or "compare".
        overrides: as on the command line, such as "model=autorec" or "trainer.epochs=5".

    Raises:
        ConfigError: an override does not fit.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    check_choices(overrides)
    # Within a Hydra application (compare.py, or somebody else's) its own state is put aside meanwhile.
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


def hide_bases() -> None:
    """Leaves bases, files whose name begins with `_`, out of what Hydra offers: completion, `-m 'model=glob(*)'`."""
    from hydra._internal import config_loader_impl, hydra

    class Loader(config_loader_impl.ConfigLoaderImpl):
        def get_group_options(self, *args: Any, **kwargs: Any) -> list[str]:
            return [name for name in super().get_group_options(*args, **kwargs) if not name.startswith("_")]

    vars(hydra)["ConfigLoaderImpl"] = Loader


def build(config: Any, key: str, **late: Any) -> Any:
    """Calls what a group's `_target_` names with the group's settings.

    Args:
        config: the group.
        key: its name, for messages.
        late: arguments known only now, such as sizes of the data.

    Raises:
        ConfigError: no `_target_`, a setting without a value, or one that the target does not take.
        NnrecError: raised by the target itself.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    config = config if OmegaConf.is_config(config) else OmegaConf.create(dict(config))
    if "_target_" not in config:
        raise ConfigError(f"{key} needs a _target_: what to call, such as mypackage.mymodule.MyClass.")
    if missing := sorted(OmegaConf.missing_keys(config)):
        lacks = f"{key}.{missing[0].removeprefix(f'{key}.')}"  # of a part of a configuration the whole key is told
        raise ConfigError(f"{lacks} has no value. Give it on the command line: {lacks}=<value>.")
    try:
        check_values(_target_of(config), OmegaConf.to_container(config, resolve=True), key)
        return instantiate(config, _convert_="all", **late)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, NnrecError):
            raise cause from None
        if cause is None or isinstance(cause, (TypeError, ValueError, ImportError)):
            reason = " ".join(str(cause or error).split())
            raise ConfigError(f"{key} ({config._target_}) cannot be called: {reason}") from error
        raise cause from None


def _target_of(config: Any) -> Any:
    """What a group's `_target_` names, None where that cannot be found: `instantiate` says why."""
    try:
        return pydoc.locate(str(config._target_))
    except pydoc.ErrorDuringImport:
        return None


def check_seed(number: Any) -> None:
    """Makes sure that splits and weights can be drawn from this number.

    Raises:
        ConfigError: it cannot be a seed.
    """
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**32:
        raise ConfigError(f"seed must be a whole number, 0 or more and below 2^32. Received: {number!r}")
