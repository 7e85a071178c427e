"""Measures how uneven the load of real rides is: ``python -m benchmarks.peak FILE…``.

The files are the TLC's monthly trip records (Parquet).  For each file, it prints the busiest hour
and the busiest ten minutes, divided by the mean of the month.  `operate.capacity` takes four
times the mean as the highest load.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MINUTE = 60  # seconds


def peak(seconds: NDArray[np.int64], width: int) -> float:
    """Return the largest number of rides in an interval, divided by the mean of all intervals.

    *seconds* are the pick-up times, and *width* is the length of an interval in seconds.
    """
    counts = np.bincount((seconds - seconds.min()) // width)
    return float(counts.max() / counts.mean())


def pickups(path: Path) -> NDArray[np.int64]:
    """Return the pick-up times of the month in the name of *path*, in seconds since 1970."""
    import pyarrow.parquet

    month = np.datetime64(path.stem[-7:], "M")
    [name] = [
        one for one in pyarrow.parquet.read_schema(path).names if one.endswith("pickup_datetime")
    ]
    column = pyarrow.parquet.read_table(path, columns=[name]).column(0)
    times = column.cast("timestamp[s]").to_numpy()
    of_month = (times >= month) & (times < month + np.timedelta64(1, "M"))  # a few dates are wrong
    found: NDArray[np.int64] = times[of_month].astype(np.int64)
    return found


def main(names: list[str]) -> int:
    if not names:
        print("usage: python -m benchmarks.peak FILE…", file=sys.stderr)
        return 2
    print("| month | busiest hour | busiest ten minutes |\n|---|---|---|")
    for path in map(Path, names):
        times = pickups(path)
        hour, minutes = peak(times, 60 * MINUTE), peak(times, 10 * MINUTE)
        print(f"| {path.stem[-7:]} | {hour:.1f} | {minutes:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
