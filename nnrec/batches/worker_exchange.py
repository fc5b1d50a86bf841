"""Division of batch preparation among workers: each makes some of the batches and sends the others their parts.

With n workers and batches that come in pools (`nnrec.batches.protocol.PooledBatches`: rows in files, and the host calls
of GRU4Rec), every worker reads and makes each n-th pool. The others fetch their devices' parts of each batch from it by
Arrow Flight. So the batches are the same as in a single process, and each worker reads and makes 1/n of them.

Each worker listens on a free port at its host name in the cluster. As with the traffic of the backends, there is no
encryption and no authentication: use a trusted network.
"""

from __future__ import annotations

import json
import math
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from pyarrow import flight

from nnrec.batches.device_parts import parts_for
from nnrec.batches.protocol import Batch, PooledBatches, TrainingBatches
from nnrec.core.devices import cluster, strategy
from nnrec.core.devices.collectives import num_parts

# Timeout for fetching a pool from the worker that makes it.
SECONDS_TO_WAIT = 600.0


def exchange_of(batches: TrainingBatches) -> Exchange | None:
    """Returns an exchange if there are several workers and pools, else None; a collective: all workers must call it."""
    if cluster.cluster() is None or not isinstance(batches, PooledBatches) or batches.num_pools < 2:
        return None
    return Exchange(batches)


def parts_here(batches: TrainingBatches, epoch: int) -> Iterator[Batch]:
    """Yields the parts of each batch of an epoch for this worker's devices; the worker makes all batches itself."""
    workers = cluster.cluster()
    number, count = (0, 1) if workers is None else (workers.index, len(workers.workers))
    numbers, parts = _numbers(number, count), num_parts()
    return (part for batch in batches.epoch(epoch) for part in parts_for(batch, batches.axes, numbers, parts))


def _numbers(worker: int, workers: int) -> range:
    """Returns the numbers of the parts of a batch for a worker's devices."""
    devices = num_parts() // workers
    return range(worker * devices, (worker + 1) * devices)


class Exchange:
    """Fetches a worker's parts of all batches, and serves the other workers their parts of those made here.

    Args:
        batches: the same on every worker, in several pools.
    """

    def __init__(self, batches: PooledBatches) -> None:
        workers = cluster.cluster()
        assert workers is not None
        self.batches, self.index, self.count = batches, workers.index, len(workers.workers)
        self._parts = num_parts()
        self._numbers = [_numbers(worker, self.count) for worker in range(self.count)]
        self._lock, self._maker = threading.Lock(), ThreadPoolExecutor(1)
        # The current epoch, an iterator over its pools made here, and the number of the next of these pools.
        self._epoch, self._following = -1, 0
        self._pools: Iterator[Iterator[Batch]] = iter(())
        # (epoch, pool) -> the parts of each worker, and how many workers have still to take theirs.
        self._made: dict[tuple[int, int], tuple[Future[list[list[Batch]]], int]] = {}
        self._server = _Server(self)
        ports = strategy.all_gather(self._server.port)
        hosts = [address.rpartition(":")[0] for address in workers.workers]
        self._others = [flight.FlightClient(f"grpc://{host}:{port}") for host, port in zip(hosts, ports, strict=True)]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yields the parts of each batch for this worker's devices; one pool per worker is fetched ahead."""
        with ThreadPoolExecutor(self.count) as fetchers:
            ahead: deque[Future[list[Batch]]] = deque()
            for pool in range(self.batches.num_pools):
                ahead.append(fetchers.submit(self._fetched, epoch, pool))
                if len(ahead) > self.count:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()

    def close(self) -> None:
        """Shuts the server down, once no worker needs it any more."""
        self._server.shutdown()
        self._maker.shutdown()

    def given(self, epoch: int, pool: int, worker: int) -> list[Batch]:
        """Returns a worker's parts of a pool that is made here; each worker asks for each pool once."""
        with self._lock:
            if epoch > self._epoch:  # the asking worker has the whole previous epoch, so all its pools are submitted
                self._pools = self.batches.pools(epoch, range(self.index, self.batches.num_pools, self.count))
                self._epoch, self._following = epoch, self.index
            while epoch == self._epoch and self._following <= pool:  # ascending, whichever is requested first
                self._made[epoch, self._following] = self._maker.submit(self._make, self._pools), self.count
                self._following += self.count
            making, left = self._made.pop((epoch, pool))
            if left > 1:
                self._made[epoch, pool] = making, left - 1
        return making.result()[worker]

    def _make(self, pools: Iterator[Iterator[Batch]]) -> list[list[Batch]]:
        """Makes the next pool: the parts for each worker."""
        batches = list(next(pools))
        axes = self.batches.axes
        return [
            [part for batch in batches for part in parts_for(batch, axes, numbers, self._parts)]
            for numbers in self._numbers
        ]

    def _fetched(self, epoch: int, pool: int) -> list[Batch]:
        """Returns this worker's parts of a pool, made here or fetched."""
        owner = pool % self.count
        if owner == self.index:
            return self.given(epoch, pool, self.index)
        ticket = flight.Ticket(json.dumps([epoch, pool, self.index]).encode())
        try:
            options = flight.FlightCallOptions(timeout=SECONDS_TO_WAIT)
            return [_decoded(chunk.data) for chunk in self._others[owner].do_get(ticket, options)]
        except (flight.FlightError, pa.ArrowException):
            strategy.note_loss()
            raise


class _Server(flight.FlightServerBase):
    """Serves other workers their parts of pools."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__("grpc://0.0.0.0:0")
        self.exchange = exchange

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.RecordBatchStream:
        epoch, pool, worker = json.loads(ticket.ticket)
        batches = [_encoded(batch) for batch in self.exchange.given(epoch, pool, worker)]
        return flight.RecordBatchStream(pa.Table.from_batches(batches))


def _encoded(batch: Batch) -> pa.RecordBatch:
    """Encodes a batch without copying: each array is a column of one binary value; the first column has their dtypes
    and shapes.
    """
    about = json.dumps([[array.dtype.str, array.shape] for array in batch.values()])
    columns = [pa.array([about]), *map(_as_value, batch.values())]
    return pa.record_batch(columns, names=["", *batch])


def _as_value(array: np.ndarray) -> pa.Array:
    ends = pa.py_buffer(np.array([0, array.nbytes]))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(np.ascontiguousarray(array))])


def _decoded(batch: pa.RecordBatch) -> Batch:
    abouts = json.loads(batch[0][0].as_py())
    return {
        name: np.frombuffer(column.buffers()[2], kind)[: math.prod(shape)].reshape(shape)
        for name, column, (kind, shape) in zip(batch.schema.names[1:], batch.columns[1:], abouts, strict=True)
    }
