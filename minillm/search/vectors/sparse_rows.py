"""A matrix that is nearly all zeros, kept by what is in it: for each row its filled columns and their values.

    [[0, 2, 0],      indptr  [0, 1, 3]     row i is at indptr[i] : indptr[i + 1] of
     [1, 0, 3]]      indices [1, 0, 2]     the columns and
                     data    [2, 1, 3]     the values

A text has a hundred or two of the language's words: 100,000 texts over 50,000 words are 20 GB as a full float32 matrix
and at most 160 MB like this. scipy does the same, and is 100 MB to install for four methods of it; the names are its
own, so that scipy.sparse.csr_matrix((m.data, m.indices, m.indptr), m.shape) is the same matrix without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm._checks import check_int, describe

MOST_BYTES = 2**31  # of a full matrix that we are willing to make: 2 GB


@dataclass(frozen=True)
class SparseRows:
    """N rows of `width` columns. indptr (N + 1,) int64, indices (filled,) int32 ascending in each row, data (filled,).

    Made by `transform` of OneHot, BagOfWords and TfIdf.
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.indptr) - 1, self.width

    @property
    def nnz(self) -> int:
        """How many places are filled."""
        return len(self.data)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"SparseRows(shape={self.shape}, dtype={self.data.dtype}, {self.nnz} of {len(self) * self.width} filled)"

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(columns, values) of one row. Raises ValueError for a row that does not exist."""
        number = check_int("number", number, 0, len(self) - 1)
        part = slice(self.indptr[number], self.indptr[number + 1])
        return self.indices[part], self.data[part]

    def rows(self) -> np.ndarray:
        """The row of each filled place, (filled,) int64."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def toarray(self) -> np.ndarray:
        """The full matrix (N, width), zeros included. Raises ValueError where it would take more than 2 GB."""
        _check_size(self.shape, self.data.dtype)
        full = np.zeros(self.shape, self.data.dtype)
        full[self.rows(), self.indices] = self.data
        return full

    def dot(self, other: Any) -> np.ndarray:
        """The inner product of each row with each row of `other` (M rows of the same width): (N, M).

        Between rows of length 1, as TfIdf makes them, this is the cosine. `other` may be SparseRows or a full array;
        the dtype is that of numpy's product of the two. Raises ValueError for an array of anything but numbers,
        another width, or a product of more than 2 GB.
        """
        matrix = isinstance(other, np.ndarray) and other.ndim == 2 and other.dtype.kind in "biuf"
        if not matrix and not isinstance(other, SparseRows):
            raise ValueError(
                f"other must be SparseRows or an array of numbers of two dimensions, got {describe(other)}"
            )
        if other.shape[1] != self.width:
            raise ValueError(f"other must have rows of {self.width} columns, got {other.shape[1]}")
        # counts times weights are no whole numbers
        dtype = np.result_type(self.data, other.data if isinstance(other, SparseRows) else other)
        _check_size((len(self), len(other)), dtype)
        product = np.zeros((len(self), len(other)), dtype)
        rows = self.rows()
        full = np.zeros(self.width, np.float64)  # one row of `other` at a time
        for number in range(len(other)):
            if isinstance(other, SparseRows):
                columns, values = other.row(number)
                full[columns] = values
            else:
                full[:] = other[number]
            product[:, number] = np.bincount(rows, self.data * full[self.indices], len(self))
            if isinstance(other, SparseRows):
                full[columns] = 0
        return product


def _check_size(shape: tuple[int, int], dtype: np.dtype) -> None:
    size = shape[0] * shape[1] * dtype.itemsize
    if size > MOST_BYTES:
        raise ValueError(
            f"a full matrix of shape {shape} would take {size / 2**30:.1f} GB: take some rows at a time"
        )
