from __future__ import annotations

import gzip
import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from model_service.stream import check
from tools import sample_events

from ..support.factories import BROTLI, STORED_BROTLI, payload, ride_event

RIDE = "Jamaica (130) to Saint Albans (205), 3.66 miles, picked up"
READ = f"{RIDE} when the event arrives"


def test_each_rejected_event_is_named_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rides.jsonl"
    file.write_bytes(b"\n".join([payload(1), b"", payload(2, PULocationID=0), payload(3)]))

    assert check.main(["check", str(file)]) == 1

    assert capsys.readouterr().out == (
        f"line 1: {READ}\n"
        "line 3: rejected: Expected `int` >= 1 - at `$.ride.PULocationID`\n"
        f"line 4: {READ}\n"
        "2 good, 1 rejected\n"
    )


def test_one_event_over_several_lines_is_one_even_when_it_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ride.json"
    file.write_text(json.dumps(ride_event(trip_distance=float("nan")), indent=2))

    assert check.main(["check", str(file)]) == 1
    assert capsys.readouterr().out.endswith("0 good, 1 rejected\n")


def test_a_file_may_be_one_event_over_several_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ride.json"
    file.write_text(json.dumps(ride_event(), indent=2))

    assert check.main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"the event: {READ}\n1 good, 0 rejected\n"


@pytest.mark.parametrize("arguments", [[], ["check"], ["check", "no such file"], ["lint", "x"]])
def test_a_wrong_call_gets_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_without_events_is_not_called_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()

    assert check.main(["check", str(tmp_path / "empty")]) == 1
    assert capsys.readouterr().err.startswith("there is no event in ")


def test_a_gzipped_event_is_unzipped_as_on_the_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ride.json.gz").write_bytes(gzip.compress(payload()))

    assert check.main(["check", str(tmp_path / "ride.json.gz")]) == 0
    assert capsys.readouterr().out == f"the event: {READ}\n1 good, 0 rejected\n"


def test_the_command_imports_no_model_runtime(tmp_path: Path) -> None:
    file = tmp_path / "ride.json"
    file.write_bytes(payload())
    script = (
        "import sys; from model_service.stream import check; check.main(sys.argv[1:]);"
        "print({'onnxruntime', 'mlflow', 'boto3'} & {*sys.modules})"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, "check", file], capture_output=True, text=True, check=True
    )

    assert done.stdout == f"line 1: {READ}\n1 good, 0 rejected\nset()\n"


def test_the_command_has_its_public_name(tmp_path: Path) -> None:
    file = tmp_path / "ride.json"
    file.write_bytes(payload())

    done = subprocess.run(
        [sys.executable, "-m", "model_service.rides", "check", file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, f"line 1: {READ}\n1 good, 0 rejected\n")


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({"pickup_datetime": "2021-03-01T13:15Z"}, "on Monday 2021-03-01 08:15:00 EST"),
        ({"pickup_datetime": "2021-03-14T02:30:00"}, "on Sunday 2021-03-14 03:30:00 EDT"),
    ],
)
def test_a_good_event_is_printed_as_it_was_read(
    changes: dict[str, str], read: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ride.json").write_bytes(payload(**changes))

    assert check.main(["check", str(tmp_path / "ride.json")]) == 0
    assert capsys.readouterr().out.startswith(f"line 1: {RIDE} {read}, New York time\n")


def test_a_time_in_an_unknown_field_is_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ride.json").write_bytes(payload(tpep_pickup_datetime="2021-03-01 08:15:00"))

    assert check.main(["check", str(tmp_path / "ride.json")]) == 0
    assert capsys.readouterr().out.startswith(f"line 1: {READ}{check.IGNORED_TIME}\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_one_rejected_event(
    encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "\n".join(payload(n).decode() for n in range(3)) + "\n"
    (tmp_path / "rides.jsonl").write_bytes(lines.encode(encoding))

    assert check.main(["check", str(tmp_path / "rides.jsonl")]) == 1
    [reason, _] = capsys.readouterr().out.splitlines()
    assert reason == f"the event: rejected: data is {encoding[:6].upper()} text, not JSON in UTF-8"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b64encode(payload() + b" ").rstrip(b"="), "base64 text"),
        (b"PK\x03\x04\n\n\0", "a ZIP archive"),
        (BROTLI, "probably compressed with brotli"),
        (STORED_BROTLI, "probably compressed with brotli"),
    ],
)
def test_a_format_that_is_not_json_is_named(
    data: bytes, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record").write_bytes(data)

    assert check.main(["check", str(tmp_path / "record")]) == 1
    assert f": rejected: data is {name}, not JSON in UTF-8\n" in capsys.readouterr().out


def test_an_aggregate_that_ends_in_white_space_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1000):
        aggregate = sample_events.aggregated([payload(number)])
        if aggregate[-1:].isspace():
            break
    (tmp_path / "record").write_bytes(aggregate)

    assert check.main(["check", str(tmp_path / "record")]) == 0
    assert capsys.readouterr().out.startswith(f"the event#0: {READ}\n")
