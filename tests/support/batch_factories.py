"""Tables of rides, models and jobs for the tests of batch scoring."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model_service.batch import job
from model_service.batch.manifest import InputResult
from model_service.datasets import files as datasets_files
from model_service.datasets.formats import columns
from model_service.datasets.formats import rows as row_format
from model_service.datasets.schema import Parsed
from model_service.features import RideColumns
from model_service.models.served import Models, Served
from model_service.scoring import Answers, Target

from .factories import FakeModel, by_distance

COST = Target("ride_cost_prediction_model", "ride_cost", 0, 10_000)
ROW: dict[str, Any] = {
    "ride_id": "256",
    "PULocationID": 130,
    "DOLocationID": 205,
    "trip_distance": 3.66,
    "pickup_datetime": datetime(2021, 3, 1, 8, 15),
}
TLC_ROW: dict[str, Any] = {
    "VendorID": 2,
    "lpep_pickup_datetime": datetime(2021, 3, 1, 8, 15),
    "lpep_dropoff_datetime": datetime(2021, 3, 1, 8, 30),
    "PULocationID": 130,
    "DOLocationID": 205,
    "trip_distance": 3.66,
    "total_amount": 20.0,
    "tip_amount": 2.0,
}


def models(
    ask: Callable[[RideColumns], Answers] = by_distance,
    cannot: Callable[[RideColumns], Any] = lambda rides: np.zeros(len(rides.pickup), dtype=bool),
    *,
    cost: bool = False,
) -> Models:
    """A duration model and, if *cost*, a cost model with the same predictions."""
    duration = Served(FakeModel(ask, cannot), Target())
    return Models(duration, Served(FakeModel(ask, cannot, "Cost456"), COST) if cost else None)


def table(*rows: dict[str, Any], **types: pa.DataType) -> pa.RecordBatch:
    """Rows as Arrow; *types* are the types of some columns."""
    whole = pa.Table.from_pylist(list(rows) or [ROW])
    for name, type_ in types.items():
        at = whole.schema.get_field_index(name)
        whole = whole.set_column(at, name, whole[name].cast(type_))
    [batch] = whole.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], whole.schema)]
    return batch


def parsed(batch: pa.RecordBatch, *, text: bool = False) -> Parsed:
    """The rides and the rejected rows of a table."""
    names = columns.find_columns(batch.schema, name="a table", text=text)
    return row_format.parse(batch, names, np.arange(1, len(batch) + 1, dtype=np.int64))


def rides(*rows: dict[str, Any]) -> pa.RecordBatch:
    """Valid rides."""
    found = parsed(table(*rows))
    assert not len(found.rejected)
    return found.rides


def write(path: Path, *rows: dict[str, Any]) -> Path:
    """A Parquet file of rows."""
    pq.write_table(pa.Table.from_batches([table(*rows)]), path)
    return path


def run(output: Path, *inputs: Path | str, **changes: Any) -> list[InputResult]:
    """The results of a job over local files."""
    options: dict[str, Any] = {"models": models(), "workers": 2, "parallel": 2} | changes
    found = datasets_files.inputs([str(one) for one in inputs])
    with datasets_files.output(str(output)) as directory:
        return job.score_files(found, output=directory, **options)


def files(directory: Path) -> dict[str, bytes]:
    """The content of all files below a directory, by name."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def scored(output: Path) -> list[dict[str, Any]]:
    """All scored rides, in a fixed order."""
    found = [
        row
        for path in sorted((output / "rides").rglob("*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    return sorted(found, key=lambda row: (row["ride_id"], row["row"]))


def rejected(output: Path) -> list[dict[str, Any]]:
    """All rejected rows."""
    return [
        row
        for path in sorted((output / "rejected").glob("*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
