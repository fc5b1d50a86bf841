"""Pruning: stops trials that cannot become the best."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState


class GainPruner(optuna.pruners.BasePruner):
    """Stops a trial that would stay behind the best one even with the largest later gain seen so far.

    After epoch e a trial has b_e, its best figure so far. The possible later gain is the largest b_e - b_E (for
    figures to be minimised) among completed trials, which ended at epoch E. A trial is stopped if

        b_e - slack * gain  >  the best figure of all trials

    Unlike the median of the figures at e, this leaves room for trials whose learning rate falls late.

    Args:
        slack: a value above 1 allows for larger gains than seen so far.
        startup_trials: number of trials that must end before any is stopped.
        warmup_epochs: number of epochs before a trial may be stopped.
        epochs: number of epochs of a whole trial; a trial is not stopped after its last one.
    """

    def __init__(self, slack: float, startup_trials: int, warmup_epochs: int, epochs: int) -> None:
        self._slack, self._startup_trials = slack, startup_trials
        self._warmup_epochs, self._epochs = warmup_epochs, epochs

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial after its latest reported epoch."""
        epoch = trial.last_step
        ended = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        ended = [one for one in ended if one.intermediate_values]
        if (
            epoch is None
            or not self._warmup_epochs <= epoch < self._epochs
            or len(ended) < max(1, self._startup_trials)
        ):
            return False
        sign = 1 if study.direction.name == "MINIMIZE" else -1

        def best(of: FrozenTrial, until: int | None = None) -> float:
            told = of.intermediate_values.items()
            return min(sign * value for step, value in told if until is None or step <= until)

        gain = max(best(one, epoch) - best(one) for one in ended)
        return best(trial) - self._slack * gain > min(best(one) for one in ended)
