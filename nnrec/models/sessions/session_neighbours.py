"""Base class of session-kNN models: items of training sessions similar to the current one."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import sparse

from nnrec.core.jit import compiled
from nnrec.data.sessions import Sessions
from nnrec.models.base.session_baseline import Decay, SessionBaseline, check_at_least, check_one_of, decays, sets_of
from nnrec.models.knn.similarity import in_tiles

Similarity = Literal["cosine", "vec"]
# Queries that a CPU core scores at a time.
ROWS = 128
# The score of an item that is ranked after all others.
LAST = -2


class SessionNeighbours(SessionBaseline):
    """Base class of `SKNN` and `VSKNN`, which name their sources.

    s is the current session, as the set of the items of its last `last_n_clicks` events; n is a training session, as a
    set. w(i) is the weight of the latest position of item i in s (`place_weights`):

        similarity(s, n) = sum of w(i) over the items in both / (|w| sqrt(|n|))            similarity=cosine
                         = sum of w(i) over the items in both / number of items of s       similarity=vec

    Candidates are the `sample_size` training sessions with the latest start among those that share an item with s. The
    `k` candidates with the largest similarities are the neighbours; of equally similar ones, the later. The score of an
    item is

        (1 + idf_weighting * idf(item)) * sum of similarity(s, n) * decay(s, n) over the neighbours n that contain it

    decay(s, n) is the weight, by its distance from the end of s, of the latest item of s that n contains (`decays`).
    idf(item) is the logarithm of the number of all sessions / the number of those that contain the item, rescaled to
    0 ... 1. Without `repeat_last`, the last item of s is ranked after all others.
    """

    learnt = ("backoff", "sessions", "holders", "idf")

    def __init__(
        self,
        num_items: int,
        *,
        k: int,
        sample_size: int,
        similarity: Similarity,
        weighting: Decay,
        weighting_score: Decay,
        idf_weighting: float,
        last_n_clicks: int | None,
        repeat_last: bool,
        name: str,
    ) -> None:
        super().__init__(num_items, name=name)
        check_at_least(k=(k, 1), sample_size=(sample_size, k), idf_weighting=(idf_weighting, 0))
        if last_n_clicks is not None:
            check_at_least(last_n_clicks=(last_n_clicks, 1))
        check_one_of("similarity", similarity, Similarity)
        check_one_of("weighting", weighting, Decay)
        check_one_of("weighting_score", weighting_score, Decay)
        self.k, self.sample_size, self.similarity = k, sample_size, similarity
        self.weighting, self.weighting_score, self.idf_weighting = weighting, weighting_score, idf_weighting
        self.window, self.repeat_last = last_n_clicks, repeat_last

    def fit(self, train: Sessions) -> None:
        """Stores the training sessions, the sessions of each item, and the items' idf."""
        self.fit_backoff(train)
        self.sessions = sets_of(train)
        self.holders = self.sessions.T.tocsr()
        held = np.diff(self.holders.indptr)
        idf = np.log(train.num_sessions / np.maximum(held, 1))
        low, high = idf[held > 0].min(), idf[held > 0].max()
        self.idf = ((idf - low) / max(high - low, 1e-12)).astype(np.float32)

    def add(self, queries: np.ndarray, scores: np.ndarray) -> None:
        sessions, holders = compact(self.sessions), compact(self.holders)
        lengths = np.diff(sessions[0])
        norms = 1 / np.sqrt(np.maximum(lengths, 1)) if self.similarity == "cosine" else np.ones(len(lengths))
        width = queries.shape[1]
        options = (
            place_weights(self.weighting, width),
            decays(self.weighting_score, width),
            norms.astype(np.float32),
            1 + np.float32(self.idf_weighting) * self.idf,
            self.similarity == "cosine",
            self.sample_size,
            self.k,
        )

        def work(start: int, stop: int) -> None:
            _score(queries[start:stop], *holders, *sessions, *options, scores[start:stop])

        in_tiles(work, len(queries), ROWS)
        if not self.repeat_last:
            known = np.flatnonzero(queries[:, 0] >= 0)
            scores[known, queries[known, 0]] = LAST


def compact(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Returns row starts and columns in the types that compiled loops expect."""
    return matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)


def place_weights(kind: Decay, width: int) -> np.ndarray:
    """(width + 1, width) float64: at [n, x] the weight of the event x places before the last in a session of n events.

    same 1; div (n - x) / n; linear max(0, 1 - x / 10); log 1 / log10(x + 1.7); quadratic ((n - x) / n)^2.
    """
    length, back = np.ogrid[: width + 1, :width]
    share = np.maximum(length - back, 0) / np.maximum(length, 1)
    if kind in ("div", "quadratic"):
        return share if kind == "div" else share**2
    weight = {"same": back + 1 > 0, "linear": np.maximum(0, 1 - back / 10), "log": 1 / np.log10(back + 1.7)}[kind]
    return np.where(length > 0, weight, 0).astype(np.float64)


@compiled
def _score(
    queries, holder_starts, holder_ids, starts, ids, weights, decay, norms, factors, cosine, sample_size, k, scores
):  # fmt: skip
    """Writes the scores of queries; see `SessionNeighbours`."""
    num_sessions = len(starts) - 1
    common = np.zeros(num_sessions, np.float32)
    latest = np.zeros(num_sessions, np.int32)  # 1 + position of the latest shared item; 0 = none
    candidates = np.empty(num_sessions, np.int32)
    for row in range(len(queries)):
        query = queries[row]
        length = 0
        while length < len(query) and query[length] >= 0:
            length += 1
        found, distinct, squares = 0, 0, 0.0
        for place in range(length):
            item = query[place]
            repeated = False
            for later in range(place):
                repeated |= query[later] == item
            if repeated:
                continue
            weight = weights[length, place]
            distinct += 1
            squares += weight * weight
            # Sessions are ordered by their start, so that the latest candidates are among these.
            stop = holder_starts[item + 1]
            for entry in range(max(holder_starts[item], stop - sample_size), stop):
                session = holder_ids[entry]
                if latest[session] == 0:
                    latest[session] = place + 1
                    candidates[found] = session
                    found += 1
                common[session] += weight
        if found == 0:
            continue
        sample = candidates[:found]
        if found > sample_size:
            sample = np.partition(sample, found - sample_size)[found - sample_size :]
        similar = np.empty(len(sample), np.float32)
        for position in range(len(sample)):
            similar[position] = common[sample[position]] * norms[sample[position]]
        # Positive floats sort like their bits, so that one integer key sorts by similarity, then by start.
        keys = similar.view(np.int32).astype(np.int64) << 32 | sample
        if len(keys) > k:
            keys = np.partition(keys, len(keys) - k)[len(keys) - k :]
        scale = 1 / np.sqrt(squares) if cosine else 1 / distinct
        for key in keys:
            session = np.int32(key & 0x7FFFFFFF)
            vote = np.float32(common[session] * norms[session] * scale * decay[latest[session] - 1])
            if vote <= 0:
                continue
            for entry in range(starts[session], starts[session + 1]):
                other = ids[entry]
                scores[row, other] = max(scores[row, other], np.float32(0)) + vote * factors[other]
        for session in candidates[:found]:
            common[session] = 0
            latest[session] = 0
