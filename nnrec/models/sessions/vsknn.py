"""V-S-kNN: items of similar sessions, with more weight on the latest events."""

from __future__ import annotations

from nnrec.models.base.session_baseline import Decay
from nnrec.models.sessions.session_neighbours import SessionNeighbours, Similarity


class VSKNN(SessionNeighbours):
    """S-kNN in which the latest items of the session weigh most.

    Source: Ludewig, Jannach: Evaluation of Session-based Recommendation Algorithms, 2018, section 2.2 (V-SKNN), with
    weights of neighbours by the latest item that they share (S-SKNN there) and of rare items (idf) as in the authors'
    published code. Options are named as in that code. `SessionNeighbours` has the formulas.

    In: sessions. Out: (M, num_items) float32; items that no neighbour contains follow by popularity, with negative
    scores.

    Differs: `linear` weights do not become negative; idf counts sessions, not events; similarity=cosine is the cosine
    of the weighted session.

    Args:
        num_items: size of the data.
        k: number of neighbours.
        sample_size: number of sessions among which neighbours are searched, the latest that share an item.
        similarity: "vec" or "cosine"; see `SessionNeighbours`.
        weighting: weights of the session's items by position, see
            `nnrec.models.sessions.session_neighbours.place_weights`.
        weighting_score: weights of neighbours by the latest item that they share, see
            `nnrec.models.base.session_baseline.decays`; the last item of the session is one step away.
        idf_weighting: additional weight of rare items; 0 = none.
        last_n_clicks: number of the session's last events to use; None = all.
        repeat_last: whether the session's last item can be recommended; otherwise it is ranked after all others.
    """

    def __init__(
        self,
        num_items: int,
        *,
        k: int = 500,
        sample_size: int = 1000,
        similarity: Similarity = "vec",
        weighting: Decay = "div",
        weighting_score: Decay = "div",
        idf_weighting: float = 0.0,
        last_n_clicks: int | None = None,
        repeat_last: bool = True,
        name: str = "vsknn",
    ) -> None:
        super().__init__(
            num_items, k=k, sample_size=sample_size, similarity=similarity, weighting=weighting,
            weighting_score=weighting_score, idf_weighting=idf_weighting, last_n_clicks=last_n_clicks,
            repeat_last=repeat_last, name=name,
        )  # fmt: skip
