"""Spark from the command line, or from spark-submit.

python -m nnrec.spark prepare data=table data.source.path='logs/*.parquet' split=hashed output=shards/log
python -m nnrec.spark recommend run=runs/... output=recommendations
"""

from typing import Any

from nnrec.commands import cli
from nnrec.spark.session import check_installed


def prepare(config: Any) -> None:
    """Writes shards as configured by conf/prepare.yaml and the command line."""
    check_installed()
    from nnrec.spark.preparation import execute

    execute(config)


def recommend(config: Any) -> None:
    """Writes lists as configured by conf/predict.yaml and the command line."""
    check_installed()
    from nnrec.spark.recommendation import execute

    execute(config)


COMMANDS = {
    "prepare": cli.Command(
        "the same shards, on Apache Spark",
        "prepare",
        prepare,
        note="Reads a log, filters and splits it, and writes a folder of shards to train from, on Apache Spark:\n"
        "{} data=table data.source.path='logs/*.parquet' split=hashed output=<folder> [key=value ...]\n\n"
        "Splits that Spark draws: hashed, hashed_users, user_time, time, and leave_one_out split.which=last;\n"
        "of sessions last_days and last_sessions.",
    ),
    "recommend": cli.Command(
        "top-N lists for everybody in a run, on Apache Spark",
        "predict",
        recommend,
        note="Writes top-N lists for everybody in a run into a folder, on Apache Spark:\n"
        "{} run=<folder> output=<folder> [key=value ...]\n\n"
        "Of the settings, user, histories, requests, context and rows are for one machine.",
    ),
}


if __name__ == "__main__":
    cli.main(COMMANDS, "python -m nnrec.spark")
