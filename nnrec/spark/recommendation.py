"""Top-N lists for all users of a run, as `predict.py` writes them, on any number of machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from nnrec.core.calling import typed
from nnrec.core.console import console
from nnrec.core.errors import ConfigError
from nnrec.ranking.blocks import block_size
from nnrec.recommend.candidates import excluded_items
from nnrec.recommend.lists import audience, lists
from nnrec.recommend.table_format import TableFormat, read_ids
from nnrec.recommend.top_n import TopN
from nnrec.runs.trained import TrainedRun, load_run
from nnrec.spark.session import spark_session
from nnrec.splits.shards.folder import check_free

# Settings of conf/predict.yaml that are for one machine, or for few users.
OTHERS = ("user", "histories", "requests", "context", "rows")
WRITERS = {"parquet": "parquet", "csv": "csv", "jsonl": "json"}
# Blocks of users per Spark partition: few enough to spread the work, enough to amortise loading the run.
BLOCKS = 16


def execute(config: Any) -> None:
    """Writes lists to a folder, as configured.

    Args:
        config: the configuration, composed from conf/predict.yaml.

    Raises:
        NnrecError: the lists cannot be written.
    """
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config, "run"):
        raise ConfigError(
            "Which run? Give the folder of a finished training: run=runs/<model>/<data>/<time>, or latest."
        )
    for name in OTHERS:
        if config[name] is not None:
            raise ConfigError(f"Spark recommends to everybody in a run: {name}= is for {typed('predict')}.")
    if config.output is None:
        raise ConfigError("Where to? Give a folder: output=recommendations.")
    kind = config.format or "parquet"
    if kind not in WRITERS:
        raise ConfigError(f"With Spark format must be one of {', '.join(WRITERS)}. Received: {kind}")
    output = str(config.output)
    if "://" not in output:
        output = str(Path(output).expanduser().absolute())
        check_free(Path(output))
    run, table = load_run(config.run), TableFormat(**config.table)
    excluded = excluded_items(run, config.stoplist, config.candidates, table, config.stopwords)
    users = None if config.users is None else read_ids(config.users, "users", table)
    spark = spark_session(f"nnrec recommend {run.folder.path}")
    found = top_n(spark, run, config.top_n, config.exclude_seen, excluded, users)
    found.write.option("header", True).format(WRITERS[kind]).save(output)
    console.print(f"Wrote the lists of everybody in {run.folder.path} to {output}", soft_wrap=True)


def top_n(
    spark: SparkSession,
    run: TrainedRun,
    n: int = 10,
    exclude_seen: Any = "auto",
    excluded: np.ndarray | None = None,
    users: list[Any] | None = None,
) -> DataFrame:
    """The lists of the users of a run, as a data frame with the columns of `nnrec.recommend.top_n.TopN`.

    Args:
        run: its folder must be visible to all workers; each of them loads it once.
        n, exclude_seen, excluded: as in `nnrec.recommend.lists.lists`.
        users: raw ids; None = all users.

    Raises:
        ConfigError, DataError, RunError: as in `predict.py`.
    """
    people: Any = audience(run, None, TableFormat())
    people = people if users is None else people.select(users)
    top = lists(run, n, exclude_seen, excluded)
    schema = from_arrow_schema(top.schema(people))
    # Whole blocks, so that workers multiply the same matrices as a single machine.
    step = BLOCKS * block_size(len(people), len(run.items))
    starts = np.arange(0, len(people), step)
    frame = spark.createDataFrame(pd.DataFrame({"start": starts}), "start bigint").repartition(len(starts), "start")
    folder = str(run.folder.path.absolute())
    held = spark.sparkContext.broadcast((people.which, excluded))
    return frame.mapInPandas(_ranker(folder, held, step, n, exclude_seen), schema)


def _ranker(
    folder: str, held: Any, step: int, n: int, exclude_seen: Any
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    def work(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        which, excluded = held.value
        run = _loaded(folder)
        people: Any = audience(run, None, TableFormat())
        top: TopN = lists(run, n, exclude_seen, excluded)
        for frame in frames:
            for start in frame["start"].tolist():
                some = replace(people, which=which[start : start + step])
                for block in top.blocks(some):
                    yield block.table.to_pandas()

    return work


@cache
def _loaded(folder: str) -> TrainedRun:
    """Loads the run, once in each worker."""
    return load_run(folder)
