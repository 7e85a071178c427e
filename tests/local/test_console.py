"""The live view fits the terminal, and a run prints a line at least every ten seconds."""

import io
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from local.demo.console import DemoConsole
from local.messages import Message
from local.rides import Trip
from local.run_stream import Published, StreamProgress

TRIPS = {
    str(n): Trip(n, 230, 265, 123.4, "2023-02-04T07:43:12", 59.9) for n in range(99_900, 100_000)
}
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def progress(rides: int) -> StreamProgress:
    published = [
        Published(
            {"prediction": {"ride_id": name, "ride_duration": 10.0}, "source": {"event_id": name}},
            NOON,
        )
        for name in list(TRIPS)[:rides]
    ]
    return StreamProgress({name: Message(name, b"") for name in TRIPS}, published)


@pytest.mark.parametrize(("height", "rows"), [(24, 6), (40, 12), (10, 1)])
def test_the_live_view_fits_into_80_columns_and_any_height(height: int, rows: int) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=height, color_system=None)

    with DemoConsole(console).streaming(TRIPS, 2) as show:
        show(progress(50))

    last = file.getvalue().split("ride ")[-1]
    assert last.count("02-04 07:43 ") == rows
    assert "…" not in last


def test_a_long_run_prints_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    with DemoConsole(Console(file=file)).streaming(TRIPS, 2) as show:
        for now[0] in (1.0, 9.0, 10.0, 11.0, 19.0, 20.0):
            show(progress(1))

    assert file.getvalue().splitlines() == ["- 1 of 100 rides predicted, 0 records rejected"] * 2
