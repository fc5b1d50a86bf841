"""The processes that train together, from `TF_CONFIG` or Slurm's environment variables."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from nnrec.core.errors import ConfigError

# Port of the first task of a Slurm node; the node's other tasks use the following ports.
SLURM_PORT = 8888


@dataclass(frozen=True)
class Cluster:
    """The processes that train together.

    Attributes:
        workers: host:port of each process.
        index: position of this process among them.
    """

    workers: tuple[str, ...]
    index: int

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Cluster | None:
        """Returns the cluster that `TF_CONFIG`, or else Slurm, defines; None for a single process.

        Raises:
            ConfigError: `TF_CONFIG` is invalid.
        """
        if told := environment.get("TF_CONFIG"):
            return cls._of_tf_config(told)
        if int(environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))) < 2:
            return None
        if "SLURM_PROCID" not in environment:
            return None  # not started by srun
        hosts = _hosts(environment["SLURM_STEP_NODELIST"])
        tasks = _tasks(environment["SLURM_STEP_TASKS_PER_NODE"])
        workers = [
            f"{host}:{SLURM_PORT + task}" for host, number in zip(hosts, tasks, strict=True) for task in range(number)
        ]
        return cls(tuple(workers), int(environment["SLURM_PROCID"]))

    @classmethod
    def _of_tf_config(cls, told: str) -> Cluster | None:
        try:
            config = json.loads(told)
            jobs, task = config.get("cluster", {}), config.get("task", {"type": "worker", "index": 0})
            chiefs = list(jobs.get("chief", []))
            workers = (*chiefs, *jobs.get("worker", []))
            index = int(task["index"]) + (0 if task["type"] == "chief" else len(chiefs))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"TF_CONFIG is not what it should be ({error}), such as "
                '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}. '
                f"Received: {told}"
            ) from error
        if len(workers) < 2:
            return None
        if task["type"] not in ("chief", "worker") or not 0 <= index < len(workers):
            raise ConfigError(f"TF_CONFIG: this process is none of the {len(workers)} workers. Received: {told}")
        return cls(workers, index)

    def to_tf_config(self) -> str:
        return json.dumps({"cluster": {"worker": list(self.workers)}, "task": {"type": "worker", "index": self.index}})


def _hosts(told: str) -> list[str]:
    """Parses Slurm's list of nodes: "n[01-03,7],m5" is n01, n02, n03, n7, m5."""
    found = []
    for before, ranges, after in re.findall(r"([^,\[\]]+)(?:\[([^\]]+)\]([^,\[\]]*))?", told):
        for part in ranges.split(","):
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last) + 1) if last else [first]
            found += [f"{before}{number:0>{len(first)}}{after}" for number in numbers]
    return found


def _tasks(told: str) -> list[int]:
    """Parses Slurm's number of tasks per node: "2(x3),1" is 2, 2, 2, 1."""
    parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", told)
    return [int(number) for number, times in parts for _ in range(int(times or 1))]


@cache
def cluster() -> Cluster | None:
    """Returns the processes that train together; None for a single process."""
    return Cluster.of_environment()


def is_chief() -> bool:
    """Returns whether this process is the chief: the only one that writes files and console output."""
    workers = cluster()
    return workers is None or workers.index == 0
