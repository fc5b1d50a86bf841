"""Time and memory of nnrec's item-kNN, compared with the library implicit.

    python benchmarks/knn.py [--repeats 3]

6,040 users, 3,706 items, 1,000,209 ratings, of which those of 4 or more (575,281) are likes: MovieLens 1M if
NNREC_DATA has it, else simulated ratings of its size. Cosine similarity, the 20 most similar items of each item, the
20 best new items for every user. Both libraries run on all cores; every measurement is a process of its own, the
two libraries take turns, and the output shows the median. Compilation (nnrec, once per machine) is not counted.

Lower bounds. Fitting adds up sum_u n_u^2 products, where n_u is the number of likes of a user: 1.2e8 on ml-1m, at 3 ns
each (scattered additions in a table of 60 kB) 0.4 s on a core; implicit keeps no count of common users and needs less.
Scoring adds up 20 products for each like, 1.2e7 in all, and then finds the best among 2.2e7 scores, which takes most of
the time.

Two cores of an Intel Xeon shared with other work (load average 5), medians of 7, 2026-11-23:

                fit: wall   CPU   recommend: wall   CPU   peak memory
    nnrec           1.59 s  0.83 s          1.12 s  0.51 s       337 MB
    implicit        0.90 s  0.43 s          0.76 s  0.41 s       303 MB
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NEIGHBOURS = TOP = 20
RELEVANT = 4


def make_data(path: Path) -> str:
    """Writes the likes; returns their source."""
    import numpy as np

    real = Path(os.environ.get("NNREC_DATA", "data"), "ml-1m")
    if (real / "ratings.dat").is_file():
        from nnrec.data.sources.movielens import read_movielens

        ratings, source = read_movielens("ml-1m", real, download=False), "ml-1m"
    else:
        from nnrec.data.simulators.ratings import simulate_ratings

        ratings = simulate_ratings(6_040, 3_706, 1_000_209, seed=0, min_ratings_per_user=20, activity_spread=0.6)
        source = "simulated ratings"
    liked = ratings.take(ratings.value >= RELEVANT)
    np.savez(path, user=liked.user, item=liked.item, shape=(liked.num_users, liked.num_items))
    return source


def run_nnrec(user, item, shape) -> dict:
    """Fits, then ranks all users in blocks."""
    import numpy as np

    from nnrec.data.ratings import Ratings
    from nnrec.data.vocabulary import Vocabulary
    from nnrec.models.knn.item_knn import ItemKNN
    from nnrec.ranking.blocks import user_blocks
    from nnrec.ranking.top_items import top_items

    def fit(ratings: Ratings) -> ItemKNN:
        model = ItemKNN(ratings.num_users, ratings.num_items, neighbours=NEIGHBOURS)
        model.fit(ratings)
        return model

    def recommend(model: ItemKNN, ratings: Ratings) -> None:
        for batch in user_blocks(ratings.rows("user"), ratings.num_items):
            top_items(model.score(model.encode(batch)), TOP, seen=batch)

    users, items = (Vocabulary(np.arange(size)) for size in shape)
    train = Ratings.build(users=users, items=items, user=user, item=item, value=np.ones(len(user), np.float32))
    few = train.take(np.arange(1000))
    recommend(fit(few), few)  # compiles
    return timed(lambda: fit(train), lambda model: recommend(model, train))


def run_implicit(user, item, shape) -> dict:
    """The same with CosineRecommender, in which an item is one of its own neighbours."""
    import warnings

    import numpy as np
    from implicit.nearest_neighbours import CosineRecommender
    from scipy import sparse

    warnings.filterwarnings("ignore", message="Method expects CSR input")
    likes = sparse.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=tuple(shape))

    def fit() -> CosineRecommender:
        model = CosineRecommender(K=NEIGHBOURS + 1)
        model.fit(likes, show_progress=False)
        return model

    return timed(fit, lambda model: model.recommend(np.arange(shape[0]), likes, N=TOP))


def timed(fit, recommend) -> dict:
    """Wall and CPU seconds of both steps, and peak memory."""
    laps = [now()]
    model = fit()
    laps.append(now())
    recommend(model)
    laps.append(now())
    figures = {}
    for name, before, after in zip(("fit", "recommend"), laps, laps[1:], strict=False):
        figures |= {f"{name}_wall": after[0] - before[0], f"{name}_cpu": after[1] - before[1]}
    return figures | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="processes per peer")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    peers = {"nnrec": run_nnrec, "implicit": run_implicit}
    if options.measure:
        import numpy as np

        name, path = options.measure
        print(json.dumps(peers[name](**np.load(path))))
        return
    results: dict[str, list[dict]] = {name: [] for name in peers}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "likes.npz")
        source = make_data(path)
        for _ in range(options.repeats):
            for name, found in results.items():
                command = [sys.executable, __file__, "--measure", name, str(path)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{source}, median of {options.repeats}, load average {os.getloadavg()[0]:.1f}")
    print("            fit: wall   CPU   recommend: wall   CPU   peak memory")
    for name, found in results.items():
        figures = [statistics.median(row[key] for row in found) for key in found[0]]
        print("{:10}{:10.2f} s{:6.2f} s{:14.2f} s{:6.2f} s{:10.0f} MB".format(name, *figures))


if __name__ == "__main__":
    main()
