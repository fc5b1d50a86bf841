"""Errors whose message is meant for the user.

The command line prints the message of an `NnrecError` without a traceback. A message states what is
wrong, where (file, line, key) and what to do about it.
"""


class NnrecError(Exception):
    """Base of every error that nnrec raises on purpose."""


class ConfigError(NnrecError):
    """A setting is missing, misspelt or out of range."""


class DataError(NnrecError):
    """A file or table is not usable in its present form."""


class TrainingError(NnrecError):
    """Training cannot go on (a loss that is not finite, a checkpoint that does not fit)."""


class RunError(NnrecError):
    """A run folder is missing, incomplete or already in use."""


class Interrupted(RunError):
    """The user pressed Ctrl-C during a training, which can be resumed."""
