"""The benchmark of the peak: the busiest interval of a month, divided by the mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import peak


def test_the_peak_is_the_busiest_interval_divided_by_the_mean() -> None:
    seconds = np.array([0, 10, 60, 61, 62, 130], dtype=np.int64)  # 2, 3 and 1 in a minute

    assert peak.peak(seconds, 60) == pytest.approx(3 / 2)


def test_rides_of_other_months_are_left_out(tmp_path: Path) -> None:
    times = np.array(["2022-02-01T00:00", "2022-02-28T23:59", "2022-03-01", "2009-01-01"], "M8[us]")
    path = tmp_path / "green_tripdata_2022-02.parquet"
    pq.write_table(pa.table({"lpep_pickup_datetime": times}), path)

    assert len(peak.pickups(path)) == 2


def test_without_files_the_command_says_how_to_call_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert peak.main([]) == 2
    assert "usage" in capsys.readouterr().err
