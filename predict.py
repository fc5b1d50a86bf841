"""Recommends: `python predict.py run=runs/autorec/ml-1m/... output=recommendations.csv`."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="predict")
def main(config: DictConfig) -> None:
    """Composes the configuration from conf/predict.yaml and the command line, and does what it says."""
    from nnrec.commands.cli import report_errors

    with report_errors():
        from nnrec.commands.predict import execute

        execute(config)


if __name__ == "__main__":
    from nnrec.commands.cli import run

    run(main, "predict")
