"""The Spark session of the command line."""

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


# The default of spark.sql.shuffle.partitions on one machine; Spark's default of 200 is for clusters.
LOCAL_PARTITIONS = 32


def check_installed() -> None:
    """Raises ConfigError if PySpark is not installed."""
    if importlib.util.find_spec("pyspark") is None:
        raise ConfigError("Spark is not installed: pip install 'nnrec[spark]'.")


def spark_session(name: str) -> SparkSession:
    """The session of this process: that of `spark-submit`, or a new one on all cores of this machine.

    Raises:
        ConfigError: Java is missing.
    """
    from pyspark.sql import SparkSession

    settings = {
        # Dates are UTC, as in the single-machine code.
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # Lines with too few or too many fields are errors even if not all columns are read.
        "spark.sql.csv.parser.columnPruning.enabled": "false",
    }
    # Workers on this machine use the same Python and the same nnrec; those of a cluster have their own.
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
    context.setLogLevel("FATAL")  # errors are reported by nnrec
    if context.master.startswith("local") and not context.getConf().contains("spark.sql.shuffle.partitions"):
        session.conf.set("spark.sql.shuffle.partitions", LOCAL_PARTITIONS)
    return session
