"""Construction of objects from configuration groups by calling the class or function in `_target_`."""

from __future__ import annotations

import pydoc
from typing import Any

from nnrec.core.config.old_names import current_name, with_current_names
from nnrec.core.config.validate import check_values
from nnrec.core.errors import ConfigError, NnrecError


def build(config: Any, key: str, **late: Any) -> Any:
    """Calls the class or function in a group's `_target_`, with the group's other settings as arguments.

    Args:
        config: the configuration group.
        key: name of the group, for error messages.
        late: further arguments that are not in the configuration, such as sizes of the data.

    Raises:
        ConfigError: `_target_` is missing, a setting has no value, or the target does not accept a setting.
        NnrecError: the target raises one.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else dict(config)
    config = OmegaConf.create(with_current_names(plain))
    if "_target_" not in config:
        raise ConfigError(f"{key} needs a _target_: what to call, such as mypackage.mymodule.MyClass.")
    if missing := sorted(OmegaConf.missing_keys(config)):
        lacks = f"{key}.{missing[0].removeprefix(f'{key}.')}"  # full key, also inside a configuration
        raise ConfigError(f"{lacks} has no value. Give it on the command line: {lacks}=<value>.")
    try:
        check_values(locate(str(config._target_)), OmegaConf.to_container(config, resolve=True), key)
        return instantiate(config, _convert_="all", **late)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, NnrecError):
            raise cause from None
        if cause is None or isinstance(cause, (TypeError, ValueError, ImportError)):
            reason = " ".join(str(cause or error).split())
            raise ConfigError(f"{key} ({config._target_}) cannot be called: {reason}") from error
        raise cause from None


def locate(target: str) -> Any:
    """Returns the object at an import path, None if it cannot be imported."""
    try:
        return pydoc.locate(current_name(target))
    except pydoc.ErrorDuringImport:
        return None


def check_seed(number: Any) -> None:
    """Checks that a number is usable as a random seed.

    Raises:
        ConfigError: it is not an integer from 0 to 2^32 - 1.
    """
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**32:
        raise ConfigError(f"seed must be a whole number, 0 or more and below 2^32. Received: {number!r}")
