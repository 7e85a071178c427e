"""The OpenAPI document matches what the web service accepts and returns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.lambda_container import HOST
from model_service.errors import RideRejected
from model_service.web import quotes
from model_service.web.openapi import TIMESTAMP

from ..support.browser import write_ranged
from .test_server import server

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests" / "web" / "schemathesis.toml"
SECONDS = 40
DAY = timedelta(hours=23, minutes=59)


def is_accepted(text: str) -> bool:
    body = b'{"PULocationID": 1, "DOLocationID": 1, "trip_distance": 1, "pickup_datetime": "%s"}'
    try:
        quotes.decode(body % text.encode(), datetime.now(UTC))
    except RideRejected:
        return False
    return True


@given(st.from_regex(re.compile(TIMESTAMP), fullmatch=True))
def test_every_documented_timestamp_is_accepted(text: str) -> None:
    rounds_up_to_9999 = text.startswith("9998-12-31") and ":59:59." in text

    assert is_accepted(text) or rounds_up_to_9999


@given(
    st.datetimes(timezones=st.none() | st.builds(timezone, st.timedeltas(-DAY, DAY))),
    st.sampled_from(["T", " ", "t", "_"]),
    st.sampled_from(["hours", "minutes", "seconds", "auto"]),
)
def test_timestamp_is_accepted_exactly_if_the_document_allows_it(
    moment: datetime, between: str, precision: str
) -> None:
    text = moment.isoformat(between, precision)

    assert is_accepted(text) == (re.fullmatch(TIMESTAMP, text) is not None)


@pytest.mark.slow
def test_schemathesis_finds_no_undocumented_response_and_no_500(tmp_path: Path) -> None:
    location = write_ranged(tmp_path, 1.0)  # 1.0 per mile, so every ride can be scored
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color"]
    options = ["--max-examples=60", f"--max-time={SECONDS}", "--seed=1"]
    with server(location, COST_MODEL_LOCATION=str(location)) as (_, port):
        done = subprocess.run(
            [*command, "run", *options, f"http://{HOST}:{port}/openapi.json"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=5 * SECONDS, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-500:]
