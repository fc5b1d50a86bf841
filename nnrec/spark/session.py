"""The Spark session that the command line works in."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from nnrec.core.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# Into so many parts rows are sorted on one machine, unless somebody says otherwise; Spark's 200 are for many.
LOCAL_PARTITIONS = 32


def check_installed() -> None:
    """Raises ConfigError where PySpark is missing."""
    if importlib.util.find_spec("pyspark") is None:
        raise ConfigError("Spark is not installed: pip install 'nnrec[spark]'.")


def spark_session(name: str) -> SparkSession:
    """The session of this process: that of `spark-submit`, or a new one on all cores of this machine.

    Raises:
        ConfigError: Java is missing.
    """
    from pyspark.sql import SparkSession

    settings = {
        # Dates are UTC, here as in the single-machine code.
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # Lines with too few or too many fields are errors, also where not all columns are read.
        "spark.sql.csv.parser.columnPruning.enabled": "false",
    }
    # Workers on this machine are to find the same Python and the same nnrec; those of a cluster have their own.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    here = str(Path(__file__).resolve().parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    builder = SparkSession.builder.appName(name)
    for key, value in settings.items():
        builder = builder.config(key, value)
    try:
        session = builder.config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower()).getOrCreate()
    except Exception as error:
        if "JAVA" not in str(error).upper():
            raise
        raise ConfigError("Spark needs Java 17 or later: install it, or set JAVA_HOME.") from error
    context = session.sparkContext
    context.setLogLevel("FATAL")  # errors are told in words
    if context.master.startswith("local") and not context.getConf().contains("spark.sql.shuffle.partitions"):
        session.conf.set("spark.sql.shuffle.partitions", LOCAL_PARTITIONS)
    return session
