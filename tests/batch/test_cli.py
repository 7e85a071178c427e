"""The batch command: its files, messages and exit codes, on disk and on S3."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local.aws.server import Embedded
from model_service.batch.__main__ import main
from model_service.datasets import files as datasets_files
from model_service.errors import FileError
from model_service.settings import BatchSettings

from ..support.batch_factories import ROW, TLC_ROW, files, rejected, scored, write
from .test_job import rows

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parents[2]
BUCKET = "rides"


class CommandResult(NamedTuple):
    """The exit code and the text of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., CommandResult]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process, with settings as keyword arguments."""

    def run(*arguments: object, **environ: str) -> CommandResult:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as exc:  # argparse's
            code = int(exc.code or 0)
        return CommandResult(code, *capsys.readouterr())

    return run


@pytest.fixture
def month(tmp_path: Path) -> Path:
    return write(tmp_path / "green_tripdata_2021-03.parquet", *rows(40), ROW_OUTSIDE)


ROW_OUTSIDE = TLC_ROW | {"DOLocationID": 266}


def test_command_scores_a_month_and_then_has_nothing_to_do(
    command: Command, tmp_path: Path, month: Path, golden_location: str
) -> None:
    arguments = ("score", month, "--output", tmp_path / "out", "--json", tmp_path / "r" / "j.json")

    done = command(*arguments, MODEL_LOCATION=golden_location)

    assert (done.code, done.err) == (0, f"{month}: 40 of 41 rows scored\n")
    assert done.out.startswith("41 rows: 40 scored, 1 rejected\n")
    report = json.loads((tmp_path / "r" / "j.json").read_text())
    assert (report["rows"], report["scored"], report["rejected"]) == (41, 40, 1)
    assert report["months"]["2021-03"]["errors"]["ride_duration"]["compared"] == 40
    assert report["errors"] == report["months"]["2021-03"]["errors"]
    off = report["errors"]["ride_duration"]["mae"]
    assert f"  ride_duration: mean absolute error {off:.2f} minutes" in done.out
    assert report["seconds"].keys() == {"models", "scoring", "scoring_cpu"}
    [version] = {row["ride_duration_version"] for row in scored(tmp_path / "out")}
    assert report["models"] == {"ride_duration": version}

    again = command(*arguments, MODEL_LOCATION=golden_location)

    assert (again.code, again.err) == (0, f"{month}: scored by an earlier job\n")
    assert again.out == done.out


def test_missing_output_file_is_written_again(
    command: Command, tmp_path: Path, month: Path, golden_location: str
) -> None:
    arguments = ("score", month, "--output", tmp_path / "out")
    command(*arguments, MODEL_LOCATION=golden_location)
    before = files(tmp_path / "out")
    next((tmp_path / "out" / "rides").rglob("*.parquet")).unlink()

    command(*arguments)

    assert files(tmp_path / "out") == before


def test_output_within_the_input_directory_is_not_read(
    command: Command, tmp_path: Path, month: Path, golden_location: str
) -> None:
    arguments = ("score", tmp_path, "--output", tmp_path / "out")
    command(*arguments, MODEL_LOCATION=golden_location)
    before = files(tmp_path / "out")

    again = command(*arguments)

    assert (again.code, files(tmp_path / "out")) == (0, before)
    within = command("score", tmp_path / "out", "--output", tmp_path / "out")
    assert within.code == 1
    assert "all inputs are in the output directory" in within.err


def test_file_given_twice_is_scored_once(
    command: Command, tmp_path: Path, month: Path, golden_location: str
) -> None:
    other = tmp_path / "elsewhere" / ".." / month.name
    other.parent.parent.mkdir()

    command("score", month, other, "--output", tmp_path / "out", MODEL_LOCATION=golden_location)

    assert len(scored(tmp_path / "out")) == 40


def test_invalid_utf_8_rejects_its_row_and_a_duplicate_column_its_file(
    command: Command, tmp_path: Path, golden_location: str
) -> None:
    names = ["ride_id", "PULocationID", "DOLocationID", "trip_distance"]
    ids = pa.array([b"\xff", b"2"]).view(pa.string())
    pq.write_table(pa.table([ids, [2, 1], [2, 2], [1, 1]], names=names), tmp_path / "text.parquet")
    twice = pa.table([ids, [1, 1], [2, 2], [1, 1], [1, 1]], names=[*names, "trip_distance"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    arguments = ("score", tmp_path, "--output", tmp_path / "out")

    done = command(*arguments, MODEL_LOCATION=golden_location)

    assert done.code == 1
    assert "text.parquet: 1 of 2 rows scored\n" in done.err
    assert "there are two columns trip_distance" in done.err
    [row] = rejected(tmp_path / "out")
    assert row["data"] == (
        b'{"ride":{"PULocationID":2,"DOLocationID":2,"trip_distance":1},"ride_id":"\xff"}'
    )


def test_onnx_model_needs_neither_pandas_nor_mlflow(
    tmp_path: Path, month: Path, golden_location: str
) -> None:
    script = (
        "import os, sys; from model_service.batch.__main__ import main; main(sys.argv[1:]);"
        "print({'pandas', 'mlflow', 'polars', 'matplotlib', 'boto3'} & sys.modules.keys())"
    )
    arguments = ["score", str(month), "--output", str(tmp_path / "out")]

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=os.environ | {"MODEL_LOCATION": golden_location},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.endswith("\nset()\n")


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ((), {}, "the following arguments are required"),
        (("score", "x"), {}, "the following arguments are required: --output"),
        (("score", "x", "--output", "y", "--parallel", "0"), {}, "must be from 1 to 64"),
        (
            ("score", "x", "--output", "y", "--engine", "spark", "--parallel", "1"),
            {},
            "--parallel applies only to --engine local",
        ),
        (("score", "x", "--output", "gs://y"), {}, "--output: must be a path or s3://bucket/…"),
        (("score", "s3://", "--output", "y"), {}, "INPUT: must be a path or s3://bucket/…"),
        (("score", "x", "--output", "y"), {}, "cannot start: MODEL_LOCATION is not set"),
        (
            ("score", "x", "--output", "y"),
            {"MODEL_LOCATION": "nowhere"},
            "cannot start: cannot read nowhere/MLmodel: No such file or directory",
        ),
    ],
)
def test_wrong_arguments_settings_and_models_exit_with_2(
    command: Command, arguments: tuple[str, ...], environ: dict[str, str], message: str
) -> None:
    done = command(*arguments, **environ)

    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("code", "locations", "message"),
    [
        (2, ("s3://rides/model", "rides", "out"), "cannot start: cannot access s3://rides/model: "),
        (1, ("", "s3://rides/in", "out"), "cannot list s3://rides/in: "),
        (1, ("", "", "s3://rides/out"), "cannot access s3://rides/out: "),
    ],
)
def test_unknown_aws_profile_is_one_line_of_error(
    command: Command,
    month: Path,
    golden_location: str,
    code: int,
    locations: tuple[str, str, str],
    message: str,
) -> None:
    model, source, output = locations
    environ = {"AWS_PROFILE": "nobody", "MODEL_LOCATION": model or golden_location}

    done = command("score", source or month, "--output", output, **environ)

    assert (done.code, done.err) == (
        code,
        f"{message}The config profile (nobody) could not be found\n",
    )


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs" / "settings.md").read_text()

    for field in fields(BatchSettings):
        assert f"`{field.name.upper()}`" in documented


def test_output_path_may_look_like_a_uri(
    command: Command, month: Path, golden_location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(month.parent)

    done = command("score", month.name, "--output", "a:b", MODEL_LOCATION=golden_location)

    assert done.code == 0
    assert len(scored(month.parent / "a:b")) == 40


def test_damaged_input_exits_with_1_after_the_others_are_scored(
    command: Command, tmp_path: Path, month: Path, golden_location: str
) -> None:
    broken = tmp_path / "green_tripdata_2021-04.parquet"
    broken.write_bytes(month.read_bytes()[:-100])

    done = command(
        "score", month, broken, "--output", tmp_path / "out", MODEL_LOCATION=golden_location
    )

    assert done.code == 1
    assert f"{broken} is damaged or ends too early\n" in done.err
    assert len(scored(tmp_path / "out")) == 40


def test_more_rejected_than_scored_rows_exit_with_3(
    command: Command, tmp_path: Path, golden_location: str
) -> None:
    path = write(tmp_path / "rides.parquet", ROW, *[ROW | {"PULocationID": 0}] * 2)

    done = command("score", path, "--output", tmp_path / "out", MODEL_LOCATION=golden_location)

    assert done.code == 3
    assert len(rejected(tmp_path / "out")) == 2


def test_full_disk_is_one_line_of_error_and_leaves_no_file(
    tmp_path: Path, month: Path, golden_location: str
) -> None:
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000));"
        "from model_service.batch.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", limited, "score", str(month), "--output", str(tmp_path / "out")],
        cwd=ROOT,
        env=os.environ | {"MODEL_LOCATION": golden_location},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (
        1,
        f"cannot write to {tmp_path / 'out' / '_temporary'}: File too large\n",
    )
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize("output", ["/proc/nowhere", "/dev/null/out"])
def test_unwritable_output_is_one_line_of_error(
    command: Command, month: Path, golden_location: str, output: str
) -> None:
    done = command("score", month, "--output", output, MODEL_LOCATION=golden_location)

    assert done.code == 1
    assert done.err.startswith(f"cannot write {output}: ")
    assert done.err.count("\n") == 1


def test_unreadable_input_exits_with_1(
    tmp_path: Path, month: Path, golden_location: str, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("MODEL_LOCATION", golden_location)

    def refuse(self: Path, *_: Any, **__: Any) -> Any:  # root may read anything
        raise PermissionError(13, "Permission denied")

    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: refuse(self) if self == month else real(self, *a, **k)
    )

    code = main(["score", str(month), "--output", str(tmp_path / "out")])

    assert code == 1
    assert f"cannot read {month}: Permission denied\n" in capsys.readouterr().err
    assert files(tmp_path / "out") == {}


@pytest.mark.slow
def test_next_job_completes_a_job_killed_at_any_moment(
    command: Command, tmp_path: Path, golden_location: str
) -> None:
    data = tmp_path / "rides"
    data.mkdir()
    for n in range(1, 7):
        write(data / f"green_tripdata_2021-{n:02d}.parquet", *rows(20_000, n))
    arguments = ("score", data, "--parallel", "2")
    started = monotonic()
    whole = command(*arguments, "--output", tmp_path / "whole", MODEL_LOCATION=golden_location)
    took = monotonic() - started
    assert whole.code == 0
    expected = files(tmp_path / "whole")
    random, finished = Random(5), 0

    for attempt in range(20):
        output = tmp_path / f"killed-{attempt}"
        process = subprocess.Popen(
            [sys.executable, "-m", "model_service.batch", *map(str, arguments), "--output", output],
            cwd=ROOT,
            env=os.environ | {"MODEL_LOCATION": golden_location},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(output)
        sleep(random.uniform(0, took))
        process.kill()
        finished += process.wait() == 0

        again = command(*arguments, "--output", output, MODEL_LOCATION=golden_location)

        assert again.code == 0
        assert files(output) == expected

    assert finished < 20


def wait_for(path: Path) -> None:
    while not path.exists():
        sleep(0.01)


# --- S3 -------------------------------------------------------------------------------------


def put(s3: S3Client, key: str, path: Path) -> None:
    s3.upload_file(str(path), BUCKET, key)


def there(s3: S3Client, prefix: str) -> dict[str, bytes]:
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]
    return {
        key.removeprefix(prefix): s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        for key in keys
    }


def test_command_reads_from_s3_and_writes_to_s3(
    command: Command,
    tmp_path: Path,
    month: Path,
    golden_location: str,
    module_aws: Embedded,
    s3: S3Client,
) -> None:
    put(s3, "in/year=2021/green_tripdata_2021-03.parquet", month)
    put(s3, "in/year=2022/green_tripdata_2022-03.parquet", month)
    put(s3, "in/year=2021/other.parquet", month)
    environ = {"MODEL_LOCATION": golden_location, **module_aws.environ}
    arguments = ("score", "s3://rides/in/*/green_*.parquet", "--output", "s3://rides/out")

    done = command(*arguments, **environ)

    assert done.code == 0, done.err
    assert done.out.startswith("82 rows: 80 scored, 2 rejected\n")
    written = there(s3, "out/")
    kinds = sorted(name.partition("/")[0] for name in written)
    assert kinds == ["done"] * 2 + ["rejected"] * 2 + ["rides"] * 2

    again = command(*arguments, **environ)

    assert again.err.count("scored by an earlier job") == 2
    forced = command(*arguments, "--force", **environ)
    assert forced.code == 0
    assert there(s3, "out/") == written


@pytest.mark.parametrize(
    ("pattern", "number"),
    [
        ("s3://rides/glob", 3),
        ("s3://rides/glob/", 3),
        ("s3://rides/glob/a/1.parquet", 1),
        ("s3://rides/glob/*/1.parquet", 2),
        ("s3://rides/glob/**/*.parquet", 3),
        ("s3://rides/glob/a/[12].parquet", 2),
    ],
)
def test_objects_match_by_name_folder_and_glob(
    month: Path,
    module_aws: Embedded,
    s3: S3Client,
    monkeypatch: Any,
    pattern: str,
    number: int,
) -> None:
    for name, value in module_aws.environ.items():
        monkeypatch.setenv(name, value)
    for key in ("a/1.parquet", "a/2.parquet", "b/1.parquet", "a/_SUCCESS"):
        put(s3, f"glob/{key}", month)

    assert len(datasets_files.inputs([pattern])) == number


def test_table_with_a_log_on_s3_is_refused(
    month: Path, module_aws: Embedded, s3: S3Client, monkeypatch: Any
) -> None:
    for name, value in module_aws.environ.items():
        monkeypatch.setenv(name, value)
    for key in ("table/_delta_log/0.json", "table/1.parquet", "tables/1.parquet"):
        put(s3, f"delta/{key}", month)

    for pattern in ("delta", "delta/table/", "delta/table/*.parquet"):
        with pytest.raises(FileError, match="s3://rides/delta/table/ is a Delta, Iceberg or Hudi"):
            datasets_files.inputs([f"s3://rides/{pattern}"])
    assert len(datasets_files.inputs(["s3://rides/delta/tables/*"])) == 1


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("s3://nowhere/x", "s3://rides/out", "cannot list s3://nowhere/x: "),
        ("s3://rides/none/*", "s3://rides/out", "there is no file s3://rides/none/*"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_missing_input_on_s3_is_one_line_of_error(
    command: Command,
    golden_location: str,
    module_aws: Embedded,
    source: str,
    output: str,
    message: str,
) -> None:
    environ = {"MODEL_LOCATION": golden_location, **module_aws.environ}

    done = command("score", source, "--output", output, **environ)

    assert done.code == 1
    assert done.err.startswith(message)
    assert done.err.count("\n") == 1


def test_missing_output_bucket_is_one_line_of_error(
    command: Command, month: Path, golden_location: str, module_aws: Embedded
) -> None:
    environ = {"MODEL_LOCATION": golden_location, **module_aws.environ}

    done = command("score", month, "--output", "s3://nowhere/out", **environ)

    assert done.code == 1
    assert done.err.startswith("cannot list s3://nowhere/out/: ")
    assert done.err.count("\n") == 1


def test_bar_on_a_terminal_shows_rows_and_rate(
    command: Command, tmp_path: Path, month: Path, golden_location: str
) -> None:
    done = command(
        *("score", month, "--output", tmp_path / "out"),
        MODEL_LOCATION=golden_location,
        FORCE_COLOR="1",
        COLUMNS="120",
    )

    bar = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.err).splitlines()[-1]
    assert done.code == 0
    assert re.search(r"100 % +41 rows +[\d,]+ rows/s", bar)
