"""The format of a file follows from its bytes; it is read in chunks, completely or not at all."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from model_service.datasets.formats import reader
from model_service.datasets.formats.chunk import BLOCK
from model_service.datasets.formats.text import MAX_LINE
from model_service.errors import FileError

from ..support.batch_factories import ROW, TLC_ROW, table, write
from ..support.factories import BROTLI, payload


def read(path: Path, rows: int = 3) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All accepted and all rejected rows."""
    found = [chunk.parse() for chunk in reader.chunks(path, name="a file", size=rows)]
    return (
        [row for good, _ in found for row in good.to_pylist()],
        [row for _, bad in found for row in bad.to_pylist()],
    )


def csv(path: Path, *rows: dict[str, Any]) -> Path:
    pa.csv.write_csv(pa.Table.from_batches([table(*rows)]), path)
    return path


def zipped(path: Path) -> Path:
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


EVENT = payload(1).decode()
ROWS = [ROW | {"ride_id": str(n), "trip_distance": n / 10} for n in range(10)]


def zipped_csv(path: Path, *rows: dict[str, Any]) -> Path:
    return zipped(csv(path, *rows))


@pytest.mark.parametrize("make", [write, csv, zipped_csv])
def test_table_has_the_same_rides_in_every_format(tmp_path: Path, make: Any) -> None:
    good, bad = read(make(tmp_path / "rides", *ROWS))

    assert [row["ride_id"] for row in good] == [str(n) for n in range(10)]
    assert [row["trip_distance"] for row in good] == [n / 10 for n in range(10)]
    assert {row["pickup_datetime"].hour for row in good} == {8}
    assert bad == []


def test_rows_are_numbered_as_in_the_file(tmp_path: Path) -> None:
    parquet, _ = read(write(tmp_path / "parquet", *ROWS))
    text, _ = read(csv(tmp_path / "csv", *ROWS))

    assert [row["row"] for row in parquet] == [*range(1, 11)]
    assert [row["row"] for row in text] == [*range(2, 12)]  # the header is the first line


def test_json_lines_may_be_gzipped_in_several_members(tmp_path: Path) -> None:
    path = tmp_path / "rides"  # as Firehose writes them
    path.write_bytes(b"".join(gzip.compress(payload(n) + b"\n") for n in range(7)))

    good, _ = read(path)

    assert [row["ride_id"] for row in good] == [str(n) for n in range(7)]


def test_chunk_has_the_share_of_the_file_read_so_far(tmp_path: Path) -> None:
    for path in (write(tmp_path / "parquet", *ROWS), csv(tmp_path / "csv", *ROWS)):
        shares = [chunk.read for chunk in reader.chunks(path, name="a file", size=3)]

        assert len(shares) == 4
        assert shares == sorted(shares)
        assert 0 < shares[0] <= shares[-1] <= 1


def test_malformed_csv_row_is_rejected_and_the_others_keep_their_numbers(
    tmp_path: Path,
) -> None:
    header = "ride_id,PULocationID,DOLocationID,trip_distance\n"
    path = tmp_path / "rides.csv"
    path.write_text(f"{header}1,130,205,3.66\n2,130\n3,130,205,3.66\n4,130,205,3.66,x\n5,x,1,1\n")

    good, bad = read(path)

    assert [(row["row"], row["ride_id"]) for row in good] == [(2, "1"), (4, "3")]
    assert {row["row"]: row["reason"] for row in bad} == {
        3: "2 cells, not 4",
        5: "5 cells, not 4",
        6: "Expected `int`, got `str` - at `$.ride.PULocationID`",
    }


def test_invalid_utf_8_in_csv_rejects_its_row_and_is_kept(tmp_path: Path) -> None:
    header = b"ride_id,PULocationID,DOLocationID,trip_distance,note\n"
    path = tmp_path / "rides.csv"
    path.write_bytes(header + b"\xe9,1,2,3,x\n\xc3\xa9,1,2,3,\xff\n\xff,1\n4,\xff,2,3,x\n")

    good, bad = read(path)

    assert [(row["row"], row["ride_id"]) for row in good] == [(3, "é")]
    assert {row["row"]: row["reason"] for row in bad} == {
        2: "JSON is not UTF-8",
        4: "2 cells, not 5",
        5: "Expected `int`, got `str` - at `$.ride.PULocationID`",
    }
    data = {row["row"]: row["data"] for row in bad}
    assert b'"ride_id":"\xe9"' in data[2]
    assert data[4] == b"\xff,1"


def test_empty_cells_beyond_the_header_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "rides.csv"  # as in the TLC's files of July to December 2016
    path.write_bytes(
        b"ride_id,PULocationID,DOLocationID,trip_distance\r\n1,130,205,3.66,,\r\n2,130,205,3.66\r\n"
        b'"\xc3\xa9",130,205,3.66,,\r\n4,130,205,3.66,,x\r\n5,130,205\r\n6,130,205,3.66,\r\n'
    )

    good, bad = read(path)

    assert [(row["row"], row["ride_id"]) for row in good] == [
        (2, "1"),
        (3, "2"),
        (4, "é"),
        (7, "6"),
    ]
    assert {row["row"]: (row["reason"], row["data"]) for row in bad} == {
        5: ("6 cells, not 4", b"4,130,205,3.66,,x"),
        6: ("3 cells, not 4", b"5,130,205"),
    }


def test_csv_of_several_blocks_has_every_row(tmp_path: Path) -> None:
    path = tmp_path / "rides.csv"
    lines = (f"{n},130,205,{n / 1e5}{',,' * (n % 7 == 0)}\n" for n in range(2, 90_000))
    path.write_text("ride_id,PULocationID,DOLocationID,trip_distance\n" + "".join(lines))

    parts = [chunk.parse() for chunk in reader.chunks(path, name="a file")]

    rows = [row for good, _ in parts for row in good["row"].to_pylist()]
    assert path.stat().st_size > BLOCK
    assert rows == [*range(2, 90_000)]
    assert [i for good, _ in parts for i in good["ride_id"].to_pylist()] == [*map(str, rows)]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_cells_may_be_separated_by_semicolons_or_tabs(tmp_path: Path, delimiter: str) -> None:
    path = csv(tmp_path / "rides", *ROWS)
    path.write_text(path.read_text().replace(",", delimiter))

    assert len(read(path)[0]) == 10


def test_csv_may_begin_with_empty_lines(tmp_path: Path) -> None:
    path = csv(tmp_path / "rides", *ROWS)
    path.write_bytes(b"\n \r\n" + path.read_bytes())

    assert [row["row"] for row in read(path)[0]] == [*range(2, 12)]


@pytest.mark.parametrize("codec", ["zstd", "bz2"])
@pytest.mark.parametrize("make", [csv, lambda path, *rows: lines_of_json(path, *rows)])
def test_text_may_be_compressed_with_zstd_or_bzip2(tmp_path: Path, make: Any, codec: str) -> None:
    path = make(tmp_path / "rides", *ROWS)
    half = path.stat().st_size // 2
    data = path.read_bytes()
    parts = [compressed(one, codec) for one in (data[:half], data[half:])]
    path.write_bytes(b"".join(parts))

    assert len(read(path)[0]) == 10

    path.write_bytes(b"".join(parts)[:-4])
    with pytest.raises(FileError, match="a file is damaged or ends too early"):
        read(path)


def compressed(data: bytes, codec: str) -> bytes:
    with pa.BufferOutputStream() as stream:
        with pa.CompressedOutputStream(stream, codec) as text:
            text.write(data)
        found: bytes = stream.getvalue().to_pybytes()
    return found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html>\n<html>", "is an HTML or XML page, not the file itself"),
        (b"PARE\x00\x01PARE", "is an encrypted Parquet file"),
        ("PULocationID,DOLocationID\n".encode("utf-16"), "is text in UTF-16"),
        ("PULocationID,DOLocationID\n".encode("utf-16-le"), "is a binary file, or text in UTF-16"),
        (gzip.compress(b"PAR1\x00\x01PAR1"), "is a compressed Parquet file"),
        (gzip.compress(gzip.compress(b"x")), "is compressed twice"),
        (b"PK\x03\x04\x00", "is a ZIP archive or an Excel workbook"),
        (b"\xfd7zXZ\x00", "is compressed with xz"),
        (f"{EVENT}\n{EVENT}".encode("utf-16-le"), "is UTF-16 text, and not CSV or lines of JSON"),
        (f"{EVENT}\n{EVENT}".encode("utf-16-be"), "is UTF-16 text, and not CSV or lines of JSON"),
        (b64encode(EVENT.encode()).rstrip(b"="), "is base64 text, and not CSV or lines of JSON"),
        (zlib.compress(EVENT.encode()), "is compressed with zlib, and not CSV or lines of JSON"),
        (BROTLI, "is probably compressed with brotli, and not CSV or lines of JSON"),
        (b"ARROW1\x00\x00", "is an Arrow or Feather file"),
    ],
)
def test_other_format_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "rides.parquet"
    path.write_bytes(data)

    with pytest.raises(FileError) as caught:
        read(path)

    assert str(caught.value).startswith(f"a file {message}")


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("VendorID,trip_distance", " among VendorID, trip_distance"),
        ("VendorID;trip_distance", " among VendorID, trip_distance"),
        ("130,205", ""),
        ("name@example.org,x", ""),
        ("secret", ""),
        (",".join(f"c{n}" for n in range(12)), " among c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, …"),
    ],
)
def test_message_quotes_a_header_that_has_names(tmp_path: Path, header: str, shown: str) -> None:
    path = tmp_path / "rides.csv"
    path.write_text(f"{header}\n1,2\n")

    with pytest.raises(FileError) as caught:
        read(path)

    assert "there is no column PULocationID; there is no column DOLocationID" in str(caught.value)
    assert str(caught.value).endswith(f"there is no column {last(header)}{shown}")


def last(header: str) -> str:
    """The last column that *header* does not have."""
    return "DOLocationID" if "trip_distance" in header else "trip_distance"


def test_tlc_file_may_be_csv(tmp_path: Path) -> None:
    good, _ = read(csv(tmp_path / "green_tripdata_2019-01.csv", TLC_ROW))

    assert good[0]["ride_duration_actual"] == 15.0
    assert good[0]["ride_id"] == "f58dc17bbb5c0b07"


def lines_of_json(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_bytes(b"\n".join(payload(n) for n, _ in enumerate(rows)))
    return path


@pytest.mark.parametrize("zip_", [Path, zipped])
@pytest.mark.parametrize("make", [csv, lines_of_json])
def test_byte_order_mark_is_ignored(tmp_path: Path, make: Any, zip_: Any) -> None:
    path = make(tmp_path / "rides", *ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert len(read(zip_(path))[0]) == 10


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def half_of_parquet(path: Path) -> Path:
    return truncated(write(path, *ROWS))


def half_of_a_gzip(path: Path) -> Path:
    return truncated(zipped(csv(path, *ROWS)))


def text_column(path: Path) -> Path:
    return write(path, ROW | {"PULocationID": "Jamaica"})


def missing_column(path: Path) -> Path:
    return write(path, {"DOLocationID": 1, "trip_distance": 1.0})


def not_there(path: Path) -> Path:
    return path / "gone"


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def without_rows(path: Path) -> Path:
    pq.write_table(pa.Table.from_batches([table().slice(0, 0)]), path)
    return path


def text_zones(path: Path) -> Path:
    return csv(path, ROW | {"PULocationID": "Jamaica"})


def long_line(path: Path) -> Path:
    path.write_bytes(payload(1) + b" " * MAX_LINE)
    return path


def json_list(path: Path) -> Path:
    path.write_bytes(b"[" + payload(1) + b"]")
    return path


def pretty_json(path: Path) -> Path:
    path.write_text(json.dumps(json.loads(EVENT), indent=2))
    return path


def damaged_page(path: Path) -> Path:
    data = bytearray(write(path, *ROWS).read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (half_of_parquet, "a file is damaged or ends too early"),
        (half_of_a_gzip, "a file is damaged or ends too early"),
        (damaged_page, "a file is damaged or ends too early"),
        (empty, "a file has no rides"),
        (without_rows, "a file has no rides"),
        (text_zones, "a file does not hold rides: PULocationID is text, not a number"),
        (text_column, "a file does not hold rides: PULocationID is text, not a number"),
        (
            missing_column,
            "a file does not hold rides: there is no column PULocationID among DOLocationID,"
            " trip_distance",
        ),
        (
            json_list,
            "a file is a JSON array: write one ride on each line, in pandas with"
            ' to_json(orient="records", lines=True, date_format="iso")',
        ),
        (pretty_json, "a file does not hold rides: none of its first lines is a JSON object"),
        (long_line, f"a file has a line of more than {MAX_LINE} bytes"),
        (not_there, "cannot read a file: No such file or directory"),
    ],
)
def test_file_without_rides_is_refused_with_one_sentence(
    tmp_path: Path, make: Any, message: str
) -> None:
    path = make(tmp_path / "rides")

    with pytest.raises(FileError) as caught:
        read(path)

    assert str(caught.value) == message


@pytest.mark.parametrize("byte", [0, 50, 100, 200, 300])
def test_random_bytes_are_rows_or_one_sentence(tmp_path: Path, byte: int) -> None:
    path = tmp_path / "rides"
    for size in (1, 5, 100, 4000):
        path.write_bytes((b"PAR1", b"\x1f\x8b", b"{", b"", b"a,b\n")[byte % 5] + os.urandom(size))

        try:
            read(path)
        except FileError as exc:
            assert "\n" not in str(exc)


def test_error_does_not_quote_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rides"
    path.write_text(json.dumps(["a secret"]))

    with pytest.raises(FileError) as caught:
        read(path)

    assert "secret" not in str(caught.value)
