"""Makes an id for each ride that has none: a hash of the columns that distinguish rides.

The same row has the same hash in every file and on every machine, even if a column has 32 bits in
one file and 64 bits in another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

DIGITS = 16  # hexadecimal: 64 bits
SEED = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio, as in splitmix64
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def hashes(columns: Sequence[NDArray[Any]]) -> pa.Array:
    """Return the hash of each row, as 16 hexadecimal digits.

    *columns* are the columns of the rows, each with shape (n,) and type float64 or int64.

    >>> hashes([np.array([1.5, 2.5]), np.array([1, 1])]).to_pylist()
    ['5f6353fb02101091', '86f4b2cd2e712e69']
    """
    with np.errstate(over="ignore"):
        state = np.zeros(len(columns[0]), dtype=np.uint64)
        for column in columns:
            state = _mixed(state + SEED + _bits(column))
    text = state.astype(">u8").tobytes().hex().encode()
    ends = np.arange(len(state) + 1, dtype=np.int32) * DIGITS
    return pa.StringArray.from_buffers(len(state), pa.py_buffer(ends), pa.py_buffer(text))


def _bits(column: NDArray[Any]) -> NDArray[np.uint64]:
    if column.dtype == np.float64:
        column = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN for all, no -0.0
    return np.ascontiguousarray(column).view(np.uint64)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the finalizer of splitmix64 (Steele, Lea and Flood, 2014) to *state*."""
    state = (state ^ (state >> np.uint64(30))) * FIRST
    state = (state ^ (state >> np.uint64(27))) * SECOND
    return state ^ (state >> np.uint64(31))
