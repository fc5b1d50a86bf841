"""S-kNN: what similar sessions hold."""

from __future__ import annotations

from nnrec.models.sessions.session_neighbours import SessionNeighbours


class SKNN(SessionNeighbours):
    """Scores an item by the similarities of the nearest training sessions that hold it.

    Source: Jannach, Ludewig: When Recurrent Neural Networks meet the Neighborhood for Session-Based Recommendation,
    2017, section 3.2: cosine of the sessions as sets of items, k neighbours among the `sample_size` latest sessions
    that share an item with the current one.

    In: sessions. Out: (M, num_items) float32 sums of similarities; items without any follow by popularity.

    Differs: nothing.

    Args:
        num_items: size of the data.
        k: neighbours.
        sample_size: sessions among which they are sought.
        last_n_clicks: how much of the session counts; None = all.
        repeat_last: whether the session's last item can come again at once; otherwise it comes after all others.
    """

    def __init__(
        self,
        num_items: int,
        *,
        k: int = 500,
        sample_size: int = 1000,
        last_n_clicks: int | None = None,
        repeat_last: bool = True,
        name: str = "sknn",
    ) -> None:
        super().__init__(
            num_items, k=k, sample_size=sample_size, similarity="cosine", weighting="same", weighting_score="same",
            idf_weighting=0.0, last_n_clicks=last_n_clicks, repeat_last=repeat_last, name=name,
        )  # fmt: skip
