"""Converts between NumPy and Arrow without importing pandas.

If pandas is installed, `pyarrow.array`, `to_numpy` and all functions that make a `pyarrow.scalar`
import it, which takes half a second and memory.  The functions below never import pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

CONSTANT = pa.dictionary(pa.int32(), pa.string())
"""The type of a text column with few different values; it needs only four bytes per row."""


def arrow(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return *values* as an Arrow array, with null wherever the mask *valid* is False.

    >>> arrow(np.array([1.5, 2.5]), valid=np.array([True, False])).to_pylist()
    [1.5, None]
    """
    validity = None if valid is None or valid.all() else _bits(valid)
    data = _bits(values) if values.dtype == np.bool_ else pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [validity, data])


def numpy(values: pa.Array) -> NDArray[Any]:
    """Return *values*, numbers or booleans, as a NumPy array.

    In place of null, a float is NaN, an integer is 0, and a boolean is False.

    >>> numpy(pa.array([1.5, None, 3])[1:])
    array([nan,  3.])
    """
    validity, data = values.buffers()
    within = slice(values.offset, values.offset + len(values))
    if pa.types.is_boolean(values.type):
        found = _flags(data)[within]
    else:
        dtype = np.dtype(str(values.type).replace("double", "float64"))
        found = np.frombuffer(data, dtype)[within]
    if not values.null_count:
        return found
    missing = np.nan if found.dtype.kind == "f" else 0
    return np.where(_flags(validity)[within], found, np.array(missing, dtype=found.dtype))


def texts(values: Sequence[str | bytes | None], kind: pa.DataType) -> pa.Array:
    """Return *values* as an Arrow array of the type *kind*, which is text or binary.

    >>> texts(["one", None], pa.string()).to_pylist()
    ['one', None]
    """
    encoded = [v.encode() if isinstance(v, str) else v or b"" for v in values]
    ends = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([len(value) for value in encoded], out=ends[1:])
    valid = np.array([value is not None for value in values], dtype=bool)
    validity = None if valid.all() else _bits(valid)
    buffers = [validity, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind, len(encoded), buffers)


def repeated(text: str, size: int) -> pa.Array:
    """Return an array of *size* elements, all of which are *text*, with the type `CONSTANT`."""
    indices = arrow(np.zeros(size, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(indices, texts([text], pa.string()))


def _flags(data: pa.Buffer) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool)


def _bits(flags: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))
