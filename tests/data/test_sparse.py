from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from nnrec.core.errors import ConfigError, DataError
from nnrec.data.load import load
from nnrec.data.readers.sparse import from_sparse

#          item 0  1  2  3
DENSE = [[5.0, 0, 0, 1.0], [0, 0, 0, 0], [0, 3.0, 0, 2.0]]


def entries(ratings):
    return list(zip(ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist(), strict=True))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csr_matrix])
def test_rows_are_users_and_columns_items(make, form):
    ratings = from_sparse(make(DENSE).asformat(form))
    assert entries(ratings) == [(0, 0, 5), (0, 3, 1), (2, 1, 3), (2, 3, 2)]
    assert ratings.users.ids.tolist() == [0, 1, 2] and ratings.items.ids.tolist() == [0, 1, 2, 3]
    assert (ratings.user.dtype, ratings.item.dtype, ratings.value.dtype) == (np.int32, np.int32, np.float32)
    assert ratings.notes == ("Read 4 ratings of 3 users and 4 items from a sparse matrix.",)


def test_a_stored_zero_is_a_rating_and_repeated_places_are_summed():
    matrix = sparse.coo_array(([0, 100, 100, 4], ([1, 0, 0, 0], [0, 1, 1, 0])), dtype=np.int8)
    assert entries(from_sparse(matrix)) == [(0, 0, 4), (0, 1, 200), (1, 0, 0)]
    assert matrix.nnz == 4  # as it was
    unsorted = sparse.csr_matrix((np.array([1.0, 2, 3]), [1, 0, 1], [0, 3]), shape=(1, 2))
    assert entries(from_sparse(unsorted)) == [(0, 0, 2), (0, 1, 4)]
    assert unsorted.data.tolist() == [1, 2, 3] and unsorted.indices.tolist() == [1, 0, 1]


def test_true_is_one():
    assert entries(from_sparse(sparse.csr_array([[True, False], [False, True]]))) == [(0, 0, 1), (1, 1, 1)]


def damaged():
    matrix = sparse.csr_array(DENSE)
    matrix.indices[1] = 9
    return matrix


@pytest.mark.parametrize(
    ("matrix", "told"),
    [
        (sparse.csr_array([[1.0, 0], [0, np.nan]]), "Row 1, column 1 of the sparse matrix is nan. .* finite numbers"),
        (sparse.coo_matrix([[0, np.inf]]), "Row 0, column 1 of the sparse matrix is inf"),
        (sparse.csr_array([[1e300]]), r"is 1e\+300. Ratings must be finite numbers"),
        (sparse.csr_array([[1j]]), "holds numbers. Received: dtype complex128"),
        (sparse.coo_array([1.0, 0]), "two dimensions, users and items. Received: 1"),
        (sparse.csr_array((3, 4)), r"\(3, 4\) is empty: it holds no rating"),
        (sparse.csr_matrix((0, 0)), r"\(0, 0\) is empty"),
        (damaged(), "The sparse matrix is damaged: "),
    ],
)
def test_what_cannot_be_used(matrix, told):
    with pytest.raises(DataError, match=told):
        from_sparse(matrix)


def test_values_off_a_scale():
    assert len(from_sparse(sparse.csr_array(DENSE), (1, 5))) == 4
    with pytest.raises(DataError, match="Row 0, column 0 of the sparse matrix is 5. Ratings must be numbers from 1 to"):
        from_sparse(sparse.csr_array(DENSE), (1, 4))


def test_loading_keeps_the_shape_unless_filters_ask_for_more():
    matrix, default = sparse.csr_array(DENSE), {"min_ratings_per_user": 1, "min_ratings_per_item": 1}
    for filters in ({}, default):
        found = load({"name": "own", "filters": filters}, matrix)
        assert (found.num_users, found.num_items, len(found)) == (3, 4, 4)
    found = load({"name": "own", "filters": default | {"min_ratings_per_item": 2}}, matrix)
    assert found.items.ids.tolist() == [3] and found.users.ids.tolist() == [0, 1, 2]


def test_a_dense_matrix_is_refused():
    with pytest.raises(
        ConfigError, match=r"Received: ndarray. Of a dense matrix scipy\.sparse\.csr_array makes a sparse"
    ):
        load({"name": "own"}, np.array(DENSE))
