"""Connects `train.py -m` to nnrec's sweeps: Hydra discovers plugins in this namespace at every start."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class NnrecSweeper(BasicSweeper):
    """Runs a search if `sweep=` names one; otherwise Hydra's own grid, with a table of its runs at the end."""

    def sweep(self, arguments: list[str]) -> Any:
        from nnrec.commands.cli import report_errors

        assert self.config is not None and self.hydra_context is not None
        with report_errors():
            if self.config.get("sweep") is None:
                from nnrec.sweeps.grid import show_runs

                batches = super().sweep(arguments)
                show_runs([job.return_value for batch in batches for job in batch])
                return batches
            from nnrec.sweeps.sweep import sweep

            return sweep(self.hydra_context.config_loader, self.config, arguments)
