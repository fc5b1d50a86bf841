"""Spark from the command line, or from spark-submit.

python -m nnrec.spark prepare data=table data.source.path='logs/*.parquet' split=hashed output=shards/log
python -m nnrec.spark recommend run=runs/... output=recommendations
"""

import sys

import hydra
from omegaconf import DictConfig

from nnrec.commands.cli import report_errors, run
from nnrec.core.config.compose import config_folder
from nnrec.spark.session import check_installed

COMMANDS = ("prepare", "recommend")


def prepare(config: DictConfig) -> None:
    """Does what conf/prepare.yaml and the command line say."""
    with report_errors():
        check_installed()
        from nnrec.spark.preparation import execute

        execute(config)


def recommend(config: DictConfig) -> None:
    """Does what conf/predict.yaml and the command line say."""
    with report_errors():
        check_installed()
        from nnrec.spark.recommendation import execute

        execute(config)


def main() -> None:
    """Hands over to the command."""
    command = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if command not in COMMANDS:
        sys.exit(f"{__doc__}\n<command> --help lists all settings.")
    names = {"prepare": (prepare, "prepare"), "recommend": (recommend, "predict")}
    function, config = names[command]
    run(hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config)(function), config)


if __name__ == "__main__":
    main()
