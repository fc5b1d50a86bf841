"""Trains a recommender: `python train.py model=autorec data=ml-1m`."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> str:
    """Composes the configuration from conf/ and the command line, and runs it; returns the run folder."""
    from nnrec.commands.cli import report_errors

    with report_errors():
        from nnrec.commands.train import execute

        return str(execute(config).path)


if __name__ == "__main__":
    from nnrec.commands.cli import run

    run(main, "train")
