"""V-S-kNN: what similar sessions hold, with weight on the latest events."""

from __future__ import annotations

from nnrec.models.base.session_baseline import Decay
from nnrec.models.sessions.session_neighbours import SessionNeighbours, Similarity


class VSKNN(SessionNeighbours):
    """S-kNN in which the session's latest items count most.

    Source: Ludewig, Jannach: Evaluation of Session-based Recommendation Algorithms, 2018, section 2.2 (V-SKNN), with
    the weight of neighbours by the latest item they share (S-SKNN there) and of rare items (idf) as in the authors'
    published code, whose names the options have; see `SessionNeighbours` for the formulas.

    In: sessions. Out: (M, num_items) float32; items that no neighbour holds follow by popularity.

    Differs: `linear` weights do not become negative; idf is that of sessions, not of events; similarity=cosine is that
    of the weighted session.

    Args:
        num_items: size of the data.
        k: neighbours.
        sample_size: sessions among which they are sought, the latest that share an item.
        similarity: "vec" or "cosine"; see `SessionNeighbours`.
        weighting: of the session's items by place, see `nnrec.models.sessions.session_neighbours.place_weights`.
        weighting_score: of neighbours by the latest item they share, see `nnrec.models.base.session_baseline.decays`;
            the last item of the session is one step away.
        idf_weighting: how much more rare items count; 0 = no difference.
        last_n_clicks: how much of the session counts; None = all.
        repeat_last: whether the session's last item can come again at once; otherwise it comes after all others.
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
