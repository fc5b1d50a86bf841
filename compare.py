"""Compares recommenders: `python compare.py 'models=[popularity,ease,autorec]' data=ml-1m`."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="compare")
def main(config: DictConfig) -> None:
    """Composes the configuration from conf/ and the command line, and does what it says."""
    from hydra.core.hydra_config import HydraConfig

    from nnrec.commands.cli import report_errors

    with report_errors():
        from nnrec.commands.compare import execute

        execute(config, list(HydraConfig.get().overrides.task))


if __name__ == "__main__":
    from nnrec.commands.cli import run

    run(main, "compare")
