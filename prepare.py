"""Prepares shards: `python prepare.py data=table data.source.path=log.csv split=user_time output=shards/log`."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="prepare")
def main(config: DictConfig) -> None:
    """Composes the configuration from conf/prepare.yaml and the command line, and does what it says."""
    from nnrec.commands.cli import report_errors

    with report_errors():
        from nnrec.commands.prepare import execute

        execute(config)


if __name__ == "__main__":
    from nnrec.commands.cli import run

    run(main, "prepare")
