"""S-kNN: items of similar sessions."""

from __future__ import annotations

from nnrec.models.sessions.session_neighbours import SessionNeighbours


class SKNN(SessionNeighbours):
    """Scores an item by the similarities of the nearest training sessions that contain it.

    Source: Jannach, Ludewig: When Recurrent Neural Networks meet the Neighborhood for Session-Based Recommendation,
    2017, section 3.2: cosine of the sessions as sets of items, k neighbours among the `sample_size` latest sessions
    that share an item with the current one. `SessionNeighbours` has the formulas.

    In: sessions. Out: (M, num_items) float32 sums of similarities; all other items follow by popularity, with negative
    scores.

    Differs: nothing.

    Args:
        num_items: size of the data.
        k: number of neighbours.
        sample_size: number of sessions among which neighbours are searched.
        last_n_clicks: number of the session's last events to use; None = all.
        repeat_last: whether the session's last item can be recommended; otherwise it is ranked after all others.
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
