"""Splits: `nnrec.splits.ratings` and `nnrec.splits.users`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrec.core.config.compose import compose
from nnrec.core.errors import ConfigError, DataError
from nnrec.data.ratings import Ratings
from nnrec.data.simulators.ratings import simulate_ratings
from nnrec.data.vocabulary import Vocabulary
from nnrec.splits.hashed import Hashed, HashedUsers
from nnrec.splits.ratings import KFold, PublisherFold, RandomSplit, TimeSplit
from nnrec.splits.split import Split
from nnrec.splits.users import HeldOutUsers, LeaveOneOut, UserTimeSplit

RANDOM = (RandomSplit(), KFold(), LeaveOneOut(), HeldOutUsers())
BY_TIME = (TimeSplit(), UserTimeSplit(validation=0.1), LeaveOneOut("last"))


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return simulate_ratings(80, 50, 1_600, min_ratings_per_user=10, seed=3)


def table(user: list[int], item: list[int], time: list[int] | None = None, kind: str = "timestamp") -> Ratings:
    """Ratings whose values are 1, 2, 3 ... in the order given."""
    return Ratings.build(
        users=Vocabulary(range(max(user) + 1)),
        items=Vocabulary(range(max(item) + 1)),
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        value=np.arange(1, len(user) + 1, dtype=np.float32),
        time=None if time is None else np.array(time, np.int64),
        time_kind=None if time is None else kind,
    )


def entries(*parts: Ratings) -> set[tuple]:
    """User, item, value and time of all entries; fails where parts share one."""
    found = [
        row
        for part in parts
        for row in zip(part.user.tolist(), part.item.tolist(), part.value.tolist(), part.time.tolist(), strict=True)
    ]
    assert len(found) == len(set(found))
    return set(found)


def parts(split: Split) -> list[Ratings]:
    """The disjoint parts of a split."""
    histories = [split.validation.history, split.test.history] if split.new_users else []
    return [split.train, split.validation.target, split.test.target, *histories]


def check_partition(ratings: Ratings, split: Split) -> None:
    together = entries(*parts(split))
    if split.new_users:
        assert f"dropped {len(ratings) - len(together):,} of" in split.definition
        assert together <= entries(ratings)
    else:
        assert together == entries(ratings)
        assert split.validation.history is split.train
        assert split.test.history is split.train
    for part in parts(split):
        assert part.users is ratings.users
        assert part.items is ratings.items
        assert np.all(np.diff(part.user) >= 0)
    check_hidden(split)
    merged = split.merged()
    check_hidden(merged, validation=False)
    assert entries(merged.train) == together - entries(split.test.target) - (
        entries(split.test.history) if split.new_users else set()
    )
    expected_history = split.test.history if split.new_users else merged.train
    assert entries(merged.test.history) == entries(expected_history)
    same_user = np.diff(merged.train.user) == 0
    assert np.all(np.diff(merged.train.user) >= 0)
    assert np.all(np.diff(merged.train.time)[same_user] >= 0)


def check_hidden(split: Split, validation: bool = True) -> None:
    """Checks that no target is in the training part or in a history."""
    for held_out in (split.test, split.validation)[: 1 + validation]:
        entries(held_out.history, held_out.target)
        entries(split.train, held_out.target)


@pytest.mark.parametrize("splitter", [*RANDOM, *BY_TIME], ids=str)
def test_parts_are_disjoint_cover_and_hide_what_is_held_out(ratings, splitter):
    check_partition(ratings, splitter(ratings, 0))


@st.composite
def any_ratings(draw) -> Ratings:
    pairs = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7)), min_size=1, max_size=60, unique=True))
    times = draw(st.lists(st.integers(0, 30), min_size=len(pairs), max_size=len(pairs)))
    return table([user for user, _ in pairs], [item for _, item in pairs], times)


SHARES = st.floats(0.05, 0.6)
SPLITTERS = st.one_of(
    st.builds(RandomSplit, SHARES, SHARES),
    st.builds(KFold, st.integers(3, 6), st.integers(0, 2), SHARES),
    st.builds(LeaveOneOut, st.sampled_from(["random", "last"])),
    st.builds(TimeSplit, SHARES, SHARES),
    st.builds(UserTimeSplit, SHARES, SHARES),
    st.builds(HeldOutUsers, st.floats(0.1, 0.4), st.floats(0.1, 0.4), st.floats(0.1, 0.9)),
)


@settings(max_examples=150, deadline=None)
@given(any_ratings(), SPLITTERS, st.integers(0, 1_000))
def test_any_ratings_are_split_whole_or_refused(ratings, splitter, seed):
    try:
        split = splitter(ratings, seed)
    except DataError as error:
        assert "leaves no ratings for" in str(error)
        return
    check_partition(ratings, split)
    assert min(len(split.train), len(split.validation.target), len(split.test.target)) > 0


@pytest.mark.parametrize("splitter", RANDOM, ids=str)
def test_the_seed_decides(ratings, splitter):
    first, again, other = splitter(ratings, 1), splitter(ratings, 1), splitter(ratings, 2)
    for one, two, three in zip(parts(first), parts(again), parts(other), strict=True):
        assert entries(one) == entries(two)
        assert entries(one) != entries(three)
    assert "seed 1" in first.definition


def test_random_shares_are_of_all_and_of_the_rest(ratings):
    split = RandomSplit(test=0.2, validation=0.1)(ratings, 0)
    # 1600 * .2 = 320; 1280 * .1 = 128
    assert (len(split.train), len(split.validation.target), len(split.test.target)) == (1_152, 128, 320)
    assert split.definition == (
        "A random 20% of the ratings for test, 10% of the rest for validation, seed 0 "
        "(train 1,152, validation 128, test 320 ratings)."
    )


def test_the_test_part_does_not_depend_on_the_validation_share(ratings):
    one, other = (RandomSplit(validation=share)(ratings, 0).test.target for share in (0.05, 0.2))
    assert entries(one) == entries(other)


@pytest.mark.parametrize(
    "make", [RandomSplit, KFold, Hashed, HeldOutUsers, HashedUsers], ids=lambda splitter: splitter.__name__
)
def test_equal_parts_for_validation_are_disjoint_and_cover_what_the_test_part_leaves(ratings, make):
    splits = [make(validation=f"{fold}/3")(ratings, 0) for fold in (1, 2, 3)]
    users = make in (HeldOutUsers, HashedUsers)
    held_out = [
        set(np.unique(split.validation.target.user)) if users else entries(split.validation.target) for split in splits
    ]
    tested = [set(np.unique(split.test.target.user)) if users else entries(split.test.target) for split in splits]
    assert tested[0] == tested[1] == tested[2]
    everything = set(range(ratings.num_users)) if users else entries(ratings)
    assert set.union(*held_out) == everything - tested[0]
    assert sum(map(len, held_out)) == len(everything) - len(tested[0])
    assert "part 2 of 3" in splits[1].definition or users


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "2/0"])
def test_a_part_that_there_is_not_is_refused(text):
    with pytest.raises(ConfigError, match=r"split\.validation must be one of the parts"):
        RandomSplit(validation=text)


def test_splits_by_time_have_no_equal_parts():
    with pytest.raises(ConfigError, match="only splits that draw it at random"):
        TimeSplit(validation="1/5")


def test_folds_are_disjoint_and_cover(ratings):
    folds = [KFold(folds=4, fold=fold)(ratings, 5).test.target for fold in range(4)]
    assert [len(fold) for fold in folds] == [400] * 4
    assert entries(*folds) == entries(ratings)


@pytest.mark.parametrize("text", ["1\t10\t5\t7\n2\t30\t1\t8\n9\t10\t3\t9\n", "1::10::5::7\n2::30::1::8\n9::10::3::9\n"])
def test_publisher_fold_holds_out_what_the_file_says(tmp_path, text):
    (tmp_path / "ra.test").write_text(text)
    ratings = replace(
        table([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [1, 2, 3, 1, 2, 3]),
        users=Vocabulary([1, 2]),
        items=Vocabulary([10, 20, 30]),
        folder=str(tmp_path),
    )
    split = PublisherFold("ra", validation=0.3)(ratings, 0)
    # User 1 item 10 is entry (0, 0), user 2 item 30 is (1, 2); there is no user 9. A share 0.3 of the other four is 1.
    assert {row[:2] for row in entries(split.test.target)} == {(0, 0), (1, 2)}
    assert len(split.validation.target) == 1
    assert "1 lines of ra.test are not among the ratings" in split.definition
    check_partition(ratings, split)


def test_publisher_fold_says_which_exist(tmp_path, ratings):
    with pytest.raises(DataError, match=r"no publisher's folds .*split=kfold"):
        PublisherFold("u1")(ratings, 0)
    here = replace(ratings, folder=str(tmp_path))
    with pytest.raises(DataError, match=f"no publisher's folds .* in {tmp_path}"):
        PublisherFold("u1")(here, 0)
    (tmp_path / "u1.test").write_text("1\t1\t5\t0\n")
    (tmp_path / "ua.test").write_text("")
    with pytest.raises(ConfigError, match=r"split.fold must be one of u1, ua in .*Received: 'u7'"):
        PublisherFold("u7")(here, 0)
    with pytest.raises(DataError, match="ua.test is not a file of ratings"):
        PublisherFold("ua")(here, 0)


def test_publisher_folds_of_ml_100k(real_data):
    from nnrec.data.sources.movielens import read_movielens

    ratings = read_movielens("ml-100k", real_data("ml-100k"))
    folds = [PublisherFold(f"u{number}")(ratings, 0).test.target for number in range(1, 6)]
    assert entries(*folds) == entries(ratings)
    split = PublisherFold("ua")(ratings, 0)
    assert np.all(np.bincount(split.test.target.user) == 10)
    with open(real_data("ml-100k") / "ua.base") as file:
        assert len(split.train) + len(split.validation.target) == sum(1 for _ in file)


def test_leave_one_out_takes_the_last_two_in_time():
    # User 0 rates items 2, 0, 1, 3 in this order of time; user 1 has two ratings only.
    ratings = table([0, 0, 0, 0, 1, 1], [0, 1, 2, 3, 0, 1], [20, 30, 10, 40, 1, 2], "order")
    split = LeaveOneOut("last")(ratings, 0)
    assert {row[:2] for row in entries(split.test.target)} == {(0, 3)}
    assert {row[:2] for row in entries(split.validation.target)} == {(0, 1)}
    assert {row[:2] for row in entries(split.train)} == {(0, 0), (0, 2), (1, 0), (1, 1)}


def test_leave_one_out_at_random_takes_one_of_everybody(ratings):
    split = LeaveOneOut()(ratings, 0)
    assert np.all(np.bincount(split.test.target.user) == 1)
    assert np.all(np.bincount(split.validation.target.user) == 1)
    assert len(split.test.target) == len(split.validation.target) == 80
    last = LeaveOneOut("last")(ratings, 0)
    assert len(entries(split.test.target) & entries(last.test.target)) < 20


def test_leave_one_out_is_fair():
    # Each of a user's three ratings is equally likely to be the test one: 2000 users, 1/3 +- 4 standard errors (.042).
    ratings = table(np.repeat(np.arange(2_000), 3).tolist(), [0, 1, 2] * 2_000, [0, 1, 2] * 2_000)
    share = np.bincount(LeaveOneOut()(ratings, 0).test.target.item) / 2_000
    assert np.all(np.abs(share - 1 / 3) < 0.042)


def test_time_order_is_kept_for_everybody(ratings):
    split = TimeSplit(test=0.2, validation=0.1)(ratings, 0)
    assert split.train.time.max() < split.validation.target.time.min()
    assert split.validation.target.time.max() < split.test.target.time.min()
    assert len(split.test.target) == pytest.approx(320, abs=10)


def test_ratings_of_one_moment_stay_together():
    # The last 20% of ten ratings start at the ninth, which has the same time as the eighth: three are held out. 20% of
    # the other seven is one: the last.
    ratings = table(list(range(10)), [0] * 10, [1, 2, 3, 4, 5, 6, 7, 9, 9, 10])
    split = TimeSplit(test=0.2, validation=0.2)(ratings, 0)
    assert split.test.target.time.tolist() == [9, 9, 10]
    assert split.validation.target.time.tolist() == [7]


def test_time_split_of_the_same_moment_is_refused():
    ratings = table([0, 1, 2, 3], [0, 1, 2, 3], [5, 5, 5, 5])
    with pytest.raises(DataError, match="leaves no ratings for train and validation .*split=user_time"):
        TimeSplit()(ratings, 0)


def test_user_time_split_takes_the_last_of_each_user():
    # User 0: ten ratings, 20% = 2 for test, 25% of the other 8 = 2 for validation. User 1: one rating, stays.
    ratings = table([0] * 10 + [1], [*range(10), 0], [*range(10, 0, -1), 3], "order")
    split = UserTimeSplit(test=0.2, validation=0.25)(ratings, 0)
    assert sorted(split.test.target.time) == [9, 10]
    assert sorted(split.validation.target.time) == [7, 8]
    assert entries(split.train) >= {(1, 0, 11.0, 3)}


@pytest.mark.parametrize("splitter", [UserTimeSplit(), LeaveOneOut("last")], ids=str)
def test_time_order_is_kept_for_each_user(ratings, splitter):
    split = splitter(ratings, 0)
    for user in range(ratings.num_users):
        train, validation, test = (part.time[part.user == user] for part in parts(split))
        assert max(train, default=0) <= min(validation, default=np.inf)
        assert max([*train, *validation], default=0) <= min(test, default=np.inf)


def test_data_without_timestamps_are_refused_with_the_way_out():
    order = table([0, 0, 0], [0, 1, 2], [0, 1, 2], "order")
    with pytest.raises(DataError, match="only the order within each user. Use split=user_time"):
        TimeSplit()(order, 0)
    timeless = table([0, 0, 0], [0, 1, 2])
    with pytest.raises(DataError, match="have no times. Use split=random"):
        TimeSplit()(timeless, 0)
    with pytest.raises(DataError, match="these data have none. Use split=random"):
        UserTimeSplit()(timeless, 0)
    with pytest.raises(DataError, match="these data have none. Use split.which=random"):
        LeaveOneOut("last")(timeless, 0)


def test_held_out_users_are_whole_and_folded_in(ratings):
    split = HeldOutUsers(test=0.2, validation=0.1, fold_in=0.75)(ratings, 0)
    groups = [set(split.train.user), set(split.validation.target.user), set(split.test.target.user)]
    assert [len(group) for group in groups] == [56, 8, 16]  # of 80 users
    assert sum(map(len, groups)) == len(set.union(*groups))
    for held_out in (split.validation, split.test):
        seen, hidden = (np.bincount(part.user, minlength=80) for part in (held_out.history, held_out.target))
        assert np.array_equal(seen > 0, hidden > 0)
        assert np.array_equal(seen, np.floor(0.75 * (seen + hidden) + 0.5))
        assert np.isin(held_out.history.item, split.train.item).all()
        assert np.isin(held_out.target.item, split.train.item).all()


def test_held_out_users_lose_items_that_nobody_else_rated():
    # Ten users rate items 0 to 3, and each one more item that has no training rating once the user is held out.
    ratings = table(np.repeat(np.arange(10), 5).tolist(), [v for u in range(10) for v in (0, 1, 2, 3, 4 + u)], [0] * 50)
    split = HeldOutUsers(test=0.1, validation=0.1)(ratings, 0)
    assert "dropped 2 of their ratings (items without a training rating)" in split.definition
    # Of the four left, 0.8 * 4 = 3.2: three are the history.
    assert (len(split.test.history), len(split.test.target)) == (3, 1)
    assert split.definition.startswith("1 users held out for validation and 1 for test, 80% of their ratings")


@pytest.mark.parametrize(
    ("splitter", "named"),
    [
        (RandomSplit(), "validation and test"),
        (KFold(), "validation"),
        (UserTimeSplit(), "validation and test"),
        (HeldOutUsers(), "validation and test"),
    ],
    ids=str,
)
def test_an_empty_part_is_refused(splitter, named):
    ratings = table([0, 0, 1], [0, 1, 0], [0, 1, 2])
    with pytest.raises(DataError, match=f"leaves no ratings for {named} .*Raise split.validation and split.test"):
        splitter(ratings, 0)


def test_leave_one_out_needs_three_ratings_of_somebody():
    with pytest.raises(DataError, match="validation and test .*Users need three ratings or more"):
        LeaveOneOut()(table([0, 0, 1], [0, 1, 0], [0, 1, 2]), 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSplit(test=1.0), "split.test must be a share above 0 and below 1. Received: 1.0"),
        (lambda: RandomSplit(validation=0), "split.validation must be a share above 0 and below 1. Received: 0"),
        (lambda: TimeSplit(test=-0.1), "split.test must be"),
        (lambda: UserTimeSplit(test="many"), "Received: 'many'"),
        (lambda: HeldOutUsers(fold_in=80), "split.fold_in must be"),
        (lambda: HeldOutUsers(test=0.5, validation=0.5), "must add up to less than 1. Received: 0.5 and 0.5"),
        (lambda: PublisherFold(validation=2), "split.validation must be"),
        (lambda: KFold(folds=1), "split.folds must be a whole number, 2 or more. Received: 1"),
        (lambda: KFold(folds=5, fold=5), "split.fold must be one of 0 to 4. Received: 5"),
        (lambda: LeaveOneOut("first"), "split.which must be random or last. Received: 'first'"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "splitter"),
    [
        ("random", RandomSplit()),
        ("kfold", KFold()),
        ("publisher", PublisherFold()),
        ("leave_one_out", LeaveOneOut()),
        ("time", TimeSplit()),
        ("user_time", UserTimeSplit()),
        ("heldout_users", HeldOutUsers()),
    ],
)
def test_configuration_holds_the_defaults(name, splitter):
    from nnrec.core.config.build import build

    assert build(compose("train", [f"split={name}"]).split, "split") == splitter
