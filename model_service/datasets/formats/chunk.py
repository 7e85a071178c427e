"""A chunk: the unit in which a file of rides is read, parsed and scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..schema import Parsed

CHUNK_ROWS = 16_384
BLOCK = 1024 * 1024  # bytes of a file that are read at once


class Chunk(NamedTuple):
    """Consecutive rows of a file."""

    parse: Callable[[], Parsed]
    """A function that returns the valid and the rejected rows; any thread may call it."""
    rows: int
    """The number of rows."""
    read: float
    """The share of the file that has been read up to the end of the chunk, from 0 to 1."""
