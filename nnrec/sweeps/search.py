"""Runs a search: trials in parallel, their table, and the training and test of the winner."""

from __future__ import annotations

import shlex
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from nnrec.core.calling import typed
from nnrec.core.config.build import check_seed
from nnrec.core.config.old_names import with_current_names
from nnrec.core.console import ProgressBar, console
from nnrec.core.errors import ConfigError, DataError, Interrupted, RunError, TrainingError
from nnrec.evaluation.metrics.legend import better
from nnrec.runs.folder import RunFolder
from nnrec.runs.result import NOT_PART, flat
from nnrec.sweeps import folds, outcome, studies
from nnrec.sweeps.processes import Worker, cores, locked
from nnrec.sweeps.space import Space
from nnrec.sweeps.table import Rows

# If this many trials have ended and all have failed, the search stops.
HOPELESS = 3


class Search:
    """A sweep; see `nnrec.sweeps.sweep.sweep` for the arguments.

    This process chooses, stores and stops trials; each trial trains in a process of its own. The folder:

        sweep.json         the searched space and settings: only the same search can be resumed
        study.db           Optuna's study (sweep.storage)
        trials/000/        config.yaml, history.csv, selection.json, tensorboard/, log.txt of each trial; with
                           sweep.folds a folder for each fold: 1/, 2/, ...
        best_007/          the run folder of the winner, trial 7
        trials.csv, sweep.html, <model>_<data>.yaml    see `nnrec.sweeps.outcome`
    """

    def __init__(self, loader: Any, config: Any, overrides: Sequence[str]) -> None:
        if config.hydra.job.config_name != "train":
            raise ConfigError(f"Sweeps are for trainings: {typed('train')} -m ... sweep=...")
        self.loader, self.master, self.settings = loader, config, config.sweep
        studies.check(self.settings)
        check_seed(config.seed)
        for line in overrides:
            if _group(line) in ("run_dir", "resume"):
                raise ConfigError(f"{line} has no place in a sweep. Give sweep.folder=<folder>, to go on in it too.")
        own = [line for line in overrides if _group(line) != "sweep"]
        self.space = Space.of(self.settings.space, own, loader)
        self.folder = RunFolder(Path(self.settings.folder))
        self.base = self._compose({})
        try:
            self._compose(self.space.lowest())
        except ConfigError as error:
            raise ConfigError(f"The space does not fit model={self.base.model.name}. {error}") from error
        self.command = " ".join([f"{typed('train')} -m", *map(shlex.quote, overrides)])
        self.grid = self.space.grid(self.settings.grid_points) if self.settings.sampler == "grid" else []
        self.trials: int = min(self.settings.trials, len(self.grid) or self.settings.trials)
        self.threads: int = self.settings.threads or max(1, cores() // self.settings.workers)
        # Held while a thread uses the study, Hydra or the console.
        self.lock, self.stopping = threading.RLock(), False
        self.workers: dict[int, Worker] = {}

    def run(self) -> None:
        """Runs or resumes the search, and trains the winner.

        Raises:
            NnrecError: the search or the winner's training fails.
        """
        with locked(self.folder.path) as self.lock_file:
            self.folder.remove_leftovers()
            try:
                self.monitor = self._settle()
                self.study = self._open()
                console.print(f"Sweep folder: {self.folder.path}", soft_wrap=True)
                self._search()
                best = self._best()
                outcome.show(self.study, self.monitor, self.space)
                run = self._train(best)
            except (KeyboardInterrupt, Interrupted):
                raise Interrupted(
                    f"Interrupted. The same command goes on from here if it says sweep.folder={self.folder.path}"
                ) from None
            finally:
                self._dismiss()
            found = outcome.SearchResult(
                self.folder,
                self.study,
                self.space,
                self.monitor,
                self.command,
                self.settings.folds,
                self.compose_plain,
            )
            outcome.write(found, best, run)

    def _compose(self, values: Mapping[str, Any]) -> Any:
        """The configuration of a trial.

        Raises:
            ConfigError: the configuration does not have a key of the space.
        """
        from omegaconf import OmegaConf

        return OmegaConf.create(self.compose_plain(self.space.overrides(values)))

    def compose_plain(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The configuration composed from these overrides, as plain dicts.

        Raises:
            ConfigError: an override is invalid.
        """
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            plain: Any = OmegaConf.to_container(self.loader.load_sweep_config(self.master, list(overrides)))
            del plain["hydra"]
            found: Any = OmegaConf.to_container(OmegaConf.create(plain), resolve=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"sweep: {error}") from error
        return found

    def _settle(self) -> str:
        """Writes sweep.json, or checks that an existing one is of the same search; returns the monitored figure.

        Raises:
            ConfigError: the folder belongs to another search.
            DataError: the data have changed since.
        """
        from omegaconf import OmegaConf

        plain: Any = OmegaConf.to_container(self.base)
        settings = flat({key: value for key, value in plain.items() if key not in NOT_PART})
        wanted = {f"{key} (searched)": text for key, text in self.space.told.items()}
        wanted |= {key: str(value) for key, value in settings.items() if key not in self.space.dimensions}
        wanted |= {"sweep.folds": str(self.settings.folds)}
        wanted = with_current_names(wanted)
        there: dict[str, Any] | None = None
        if self.folder["sweep.json"].is_file():
            there = self.folder.read_json("sweep.json")
        before = wanted if there is None else with_current_names(there["of"])
        for key in dict.fromkeys([*wanted, *before]):
            if wanted.get(key) != before.get(key):
                raise ConfigError(
                    f"The sweep in {self.folder.path} has {key}: {before.get(key)}, and {wanted.get(key)} is "
                    "asked for. Choose another sweep.folder."
                )
        found = self._look()
        if there is None:
            self.folder.write_json("sweep.json", found | {"of": wanted})
        elif there["fingerprint"] != found["fingerprint"]:
            raise DataError(
                f"The data have changed since the sweep in {self.folder.path} began: its trials would not compare. "
                "Choose another sweep.folder, or bring the data back."
            )
        return str(found["monitor"])

    def _look(self) -> dict[str, str]:
        """The monitored figure and the data's fingerprint, determined by a worker that loads the data and the model."""
        from omegaconf import OmegaConf

        *_, config = folds.configs(self.base, self.settings.folds)
        with console.status("Looking at data and model"):
            for number in range(self.settings.workers):  # the others import libraries meanwhile
                self._worker(number)
            *_, message = self._worker(0).run(OmegaConf.to_yaml(config), None, self.folder["log.txt"])
        if "error" in message:
            hint = " sweep.folds needs a split that draws its validation part at random." if self.settings.folds else ""
            raise ConfigError(message["error"] + hint)
        found: dict[str, str] = message["done"]
        return found

    def _worker(self, number: int) -> Worker:
        """The worker with this number; started if it does not exist or has ended."""
        if number not in self.workers or not self.workers[number].alive:
            several = self.settings.workers > 1
            target = self.base.model.get("_target_", "")
            self.workers[number] = Worker(self.folder["log.txt"], self.threads, several, self.lock_file, target)
        return self.workers[number]

    def _open(self) -> optuna.Study:
        """Opens the study and enqueues its predefined trials: the grid's points, or the current settings."""
        direction = "minimize" if better(self.monitor.removeprefix("val_").partition("@")[0]) == "lower" else "maximize"
        study = studies.open_study(self.settings, self.folder.path, direction, self.base.trainer.epochs)
        if self.settings.sampler == "grid":
            known = self.grid
            if self.trials < len(known):
                console.print(
                    f"Of the grid's {len(known)} points, sweep.trials={self.trials} are tried, drawn at random."
                )
                order = np.random.default_rng(self.base.seed).permutation(len(known))
                known = [known[place] for place in order[: self.trials]]
        else:  # the first trial uses the current settings
            known = [self.space.present(self.base, self.loader)] if not study.trials else []
        for values in filter(None, known):
            study.enqueue_trial(values, skip_if_exists=True)
        return study

    def _search(self) -> None:
        """Runs the remaining trials.

        Raises:
            TrainingError: all trials have failed.
            Interrupted: Ctrl-C.
        """
        here = str(self.folder.path.resolve())
        running = self.study.get_trials(states=[TrialState.RUNNING])
        alone = self.settings.storage in ("sqlite", "journal")
        # Interrupted trials of this folder; those of another machine are resumed there.
        self.unfinished = [trial.number for trial in running if alone or trial.user_attrs.get("folder") == here]
        ended = self._ended()
        self.rows = Rows(self.space, self.monitor, self.study.direction.name == "MINIMIZE")
        if ended or self.unfinished:
            told = f"{len(ended)} trials of {self.trials} are there"
            console.print(told + (f", {len(self.unfinished)} are taken up again." if self.unfinished else "."))
        for trial in ended:
            self.rows.add(trial)
        with ProgressBar("trials", self.trials) as self.bar, ThreadPoolExecutor(self.settings.workers) as pool:
            self.bar.advance(len(ended))
            work = [pool.submit(self._work, number) for number in range(self.settings.workers)]
            try:
                for done in wait(work, return_when=FIRST_EXCEPTION).done:
                    done.result()
            finally:  # also after Ctrl-C, and after a worker found that all trials fail
                self.stopping = True
                self._dismiss()

    def _dismiss(self) -> None:
        """Kills all workers and the trials that they run."""
        for worker in self.workers.values():
            worker.kill()

    def _ended(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def _work(self, number: int) -> None:
        """Runs one trial after the other on the worker with this number."""
        while not self.stopping and (trial := self._next()) is not None:
            self._try(trial, number)

    def _next(self) -> optuna.Trial | None:
        """The next trial with its values chosen; None if all have been started."""
        with self.lock:
            trials = self.study.get_trials(deepcopy=False)
            if self.unfinished:
                number = self.unfinished.pop(0)
                trial = optuna.Trial(self.study, trials[number]._trial_id)
            else:
                begun = sum(trial.state != TrialState.WAITING for trial in trials)
                if begun >= self.trials:
                    return None
                number = begun
                self.study.sampler = studies.sampler(self.settings, self.base.seed, number, self.space.dimensions)
                trial = self.study.ask()
            studies.suggest(trial, self.space.dimensions)
            trial.set_user_attr("folder", str(self.folder.path.resolve()))
            return trial

    def _try(self, trial: optuna.Trial, number: int) -> None:
        """Runs a trial on each fold and records the result in the study. Only the first fold can be pruned."""
        with self.lock:
            configs = folds.configs(self._compose(trial.params), self.settings.folds)
            known = max(self.study.trials[trial.number].intermediate_values, default=0)
        folders = [self.folder["trials"] / f"{trial.number:03d}"]
        if self.settings.folds:
            folders = [folders[0] / str(fold) for fold in range(1, len(configs) + 1)]
        ends: list[dict[str, Any]] = []
        for config, path in zip(configs, folders, strict=True):
            message: dict[str, Any] = {}
            for message in self._run(number, config, RunFolder(path)):
                if "epoch" in message:
                    with self.lock:
                        # A resumed trial may repeat epochs that the study has recorded.
                        again = bool(ends) or message["epoch"] <= known
                        if not again:
                            trial.report(message["value"], message["epoch"])
                        self.workers[number].answer(again or not trial.should_prune())
            ends.append(message)
            if self.stopping or "done" not in message or message["done"]["stopped"]:
                break
        with self.lock:
            if not self.stopping:
                self._end(
                    trial,
                    ends[-1] if "done" not in ends[-1] else {"done": folds.together([end["done"] for end in ends])},
                )

    def _run(self, number: int, config: Any, folder: RunFolder) -> Iterator[dict[str, Any]]:
        """Runs one training and yields its messages; yields none if the sweep is stopping."""
        from omegaconf import OmegaConf

        with self.lock:
            config = OmegaConf.merge(config, {"run_dir": str(folder.path)})
            if not (folder["checkpoint.npz"].is_file() or folder["selection.json"].is_file()):
                shutil.rmtree(folder.path, ignore_errors=True)
            folder.remove_leftovers()
            folder.write_text("config.yaml", OmegaConf.to_yaml(config))
            if self.stopping:
                return
            worker = self._worker(number)
        yield from worker.run(OmegaConf.to_yaml(config), folder.path, folder["log.txt"])

    def _end(self, trial: optuna.Trial, message: Mapping[str, Any]) -> None:
        """Records and prints the result of a trial.

        Raises:
            TrainingError: all of the first trials have failed.
        """
        for key, value in message.get("done", {"error": message.get("error")}).items():
            trial.set_user_attr(key, value)
        if "done" not in message:
            self.study.tell(trial, state=TrialState.FAIL)
        elif message["done"]["stopped"]:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, message["done"]["value"])
        ended = self._ended()
        self.rows.add(self.study.trials[trial.number])
        self.bar.advance()
        if len(ended) >= min(HOPELESS, self.trials) and all(one.state == TrialState.FAIL for one in ended):
            self.stopping = True
            raise TrainingError(
                f"The first {len(ended)} trials have all failed, this one with: {message['error']} "
                f"(more in {self.folder['trials']})"
            )

    def _best(self) -> optuna.trial.FrozenTrial:
        try:
            return self.study.best_trial
        except ValueError:
            raise RunError("No trial came to its end: there is no best one. Raise sweep.trials.") from None

    def _train(self, best: optuna.trial.FrozenTrial) -> RunFolder:
        """Trains and tests the winner as an ordinary run."""
        from omegaconf import OmegaConf

        from nnrec.commands.train import execute

        run = RunFolder(self.folder[f"best_{best.number:03d}"])
        console.rule(f"The best, trial {best.number}", style="dim")
        if run["metrics.json"].is_file():
            return run
        resume = str(run.path) if run["config.yaml"].is_file() else None
        return execute(OmegaConf.merge(self._compose(best.params), {"run_dir": str(run.path), "resume": resume}))


def _group(line: str) -> str:
    """The group, or the outermost key, that an override sets."""
    return line.lstrip("+~").partition("=")[0].partition("@")[0].partition(".")[0].partition("/")[0]
