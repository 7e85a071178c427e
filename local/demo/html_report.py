"""Renders the demo's report: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..formatting import many, rounded, were
from ..rides import Trip
from . import plots
from .counts import PredictedRide
from .plots import Floats

SAMPLE = 14  # rides in the table
FLAVOURS = {"onnx": "ONNX", "sklearn": "scikit-learn"}


@dataclass(frozen=True, slots=True)
class ReportFigures:
    """The numbers that the report shows."""

    summary: Mapping[str, Any]
    faults: Sequence[str]
    reasons: Mapping[tuple[str, str], int]
    """(Defect of a record, reason of its rejection) -> the number of rejections."""
    baseline_rmse: float
    trained_on: str
    tested_on: str
    version: str
    per_second: float
    """The rate at which records were sent, in records per second."""
    true: Floats
    predicted: Floats
    hour: Floats
    """The hour of each pick-up.  `true`, `predicted` and `hour` have all rides of the test month.
    """
    rides: Sequence[PredictedRide]
    rows: Sequence[tuple[Trip, float]]
    """A sample of rides with their predicted minutes."""


def render(figures: ReportFigures) -> str:
    """Return the report as an HTML page."""
    css = Path(__file__).with_name("html_report.css").read_text(encoding="utf-8")
    title = "Every ride is accounted for" if not figures.faults else "The counts do not add up"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Ride predictions: {title.lower()}</title>\n"
        f"<style>\n{css}</style>\n</head>\n<body>\n"
        f"{_header(title, figures)}\n<main>\n"
        + "\n".join(
            [
                _stream(figures),
                _model(figures),
                _sample(figures.rows),
                _rejections(figures.reasons),
            ]
        )
        + f"\n</main>\n{_footer(figures)}\n</body>\n</html>\n"
    )


def _header(title: str, figures: ReportFigures) -> str:
    counts = figures.summary
    ride = "TLC ride" if counts["source"] == "tlc" else "simulated ride"
    story = (
        f"{many(counts['rides_sent'], ride)} and"
        f" {many(counts['bad_records_sent'], 'broken record')} were sent to a stream."
        f" {many(counts['rides_predicted'], 'ride')} came back with a prediction,"
        f" {many(counts['rejected'], 'record')} {were(counts['rejected'])} set aside,"
        f" {counts['lost']:,} {were(counts['lost'])} lost."
    )
    faults = "".join(f"<li>{escape(fault)}</li>" for fault in figures.faults)
    return (
        '<header><div class="wrap"><p class="eyebrow">Ride predictions</p>'
        f"<h1>{title}</h1><p class=lead>{story}</p>"
        + (f'<ul class="faults">{faults}</ul>' if faults else "")
        + f"{_tiles(figures)}</div></header>"
    )


def _tiles(figures: ReportFigures) -> str:
    counts = figures.summary
    improvement = 1 - counts["rmse_minutes"] / figures.baseline_rmse
    tiles = [
        ("Predicted", f"{counts['rides_predicted']:,}", f"of {many(counts['rides_sent'], 'ride')}"),
        ("Rejected", f"{counts['rejected']:,}", f"of {counts['bad_records_sent']:,} broken"),
        ("Lost", f"{counts['lost']:,}", many(counts["duplicates"], "duplicate")),
        (
            "Rides a second",
            _number(counts["rides_per_second"], 0),
            f"sent at up to {_number(figures.per_second, 0)} a second, all on one machine",
        ),
        (
            "Ride to prediction",
            f"{_number(counts['latency_ms']['p50'], 0)}<small> ms</small>",
            f"99 of 100 within {_number(counts['latency_ms']['p99'], 0)} ms",
        ),
        (
            "Error (RMSE)",
            f"{_number(counts['rmse_minutes'], 2)}<small> min</small>",
            f"{abs(improvement):.0%} {'below' if improvement > 0 else 'above'}"
            f" a linear model&rsquo;s {_number(figures.baseline_rmse, 2)}",
        ),
    ]
    return (
        "<dl class=tiles>"
        + "".join(
            f"<div><dt>{name}</dt><dd>{value}<span>{note}</span></dd></div>"
            for name, value, note in tiles
        )
        + "</dl>"
    )


def _stream(figures: ReportFigures) -> str:
    p50, p99 = (_number(figures.summary["latency_ms"][name], 0) for name in ("p50", "p99"))
    if not figures.rides:
        return _section("How the stream ran", "No ride was predicted.", "")
    latency = plots.latency(
        [ride.latency_ms for ride in figures.rides],
        alt=f"Histogram of latency: half of the rides within {p50} ms, 99 of 100 within {p99} ms.",
    )
    sent = np.array([ride.sent_at for ride in figures.rides])
    answered = sent + np.array([ride.latency_ms for ride in figures.rides]) / 1000
    pace = plots.keeping_up(
        sent,
        answered,
        alt=f"Rides sent and predictions published over {answered.max():.1f} seconds.",
    )
    return _section(
        "How the stream ran",
        "From the arrival of a ride on the input stream to that of its prediction on the output"
        " stream, measured by the clock of the streams.",
        _figure(latency, "The time from each ride to its prediction.")
        + _figure(pace, "The distance between the lines is the length of the queue."),
    )


def _model(figures: ReportFigures) -> str:
    rmse = figures.summary["rmse_minutes"]
    error = figures.predicted - figures.true
    by_hour = [np.mean(np.abs(error[figures.hour == h])) for h in np.unique(figures.hour)]
    match = plots.predicted_against_true(
        figures.true,
        figures.predicted,
        alt=f"Predicted against true minutes of {many(len(error), 'ride')}: they lie"
        f" along the diagonal, with a root mean square error of {_number(rmse, 2)} minutes.",
    )
    hours = plots.error_by_hour(
        figures.hour,
        error,
        alt=f"Mean absolute error by hour of the day, from {min(by_hour):.1f}"
        f" to {max(by_hour):.1f} minutes.",
    )
    return _section(
        "How accurate the model is",
        f"Trained on {escape(figures.trained_on)} and tested on all rides of"
        f" {escape(figures.tested_on)}, a month that it had not seen:"
        f" {many(len(error), 'ride')}. On the rides that were"
        f" streamed, the error is {_number(figures.summary['rmse_minutes_streamed'], 2)} minutes.",
        _figure(
            match, "Each cell counts the rides with these minutes; darker cells have more rides."
        )
        + _figure(hours, "Mean absolute error and bias of the rides that began in each hour."),
    )


def _sample(rows: Sequence[tuple[Trip, float]]) -> str:
    cells = (
        (
            str(trip.ride_id),
            escape(trip.pickup_datetime.replace("T", " ")),
            f"{trip.pickup} → {trip.dropoff}",
            f"{trip.distance:.1f}",
            f"{trip.minutes:.1f}",
            f"<b>{predicted:.1f}</b>",
            _off(predicted - trip.minutes),
        )
        for trip, predicted in sorted(
            rows, key=lambda row: (row[0].pickup_datetime, row[0].ride_id)
        )
    )
    names = ("Ride", "Pick-up", "Zones", "Miles", "Took (min)", "Predicted (min)", "Off by (min)")
    return _section(
        "Some of the rides",
        "A random sample of the streamed rides, sorted by pick-up time.",
        _table(names, cells, numeric={3, 4, 5, 6}, spare={1, 3}),
    )


def _off(minutes: float) -> str:
    width = min(abs(minutes), 15) / 15 * 50
    side = "right" if minutes < 0 else "left"
    return (
        f'<span class=off><i style="{side}:50%;width:{width:.1f}%"></i></span>'
        f"<span class=sign>{round(minutes, 1) + 0.0:+.1f}</span>"
    )


def _rejections(reasons: Mapping[tuple[str, str], int]) -> str:
    cells = (
        (escape(wrong), escape(reason), f"{count:,}")
        for (wrong, reason), count in sorted(reasons.items())
    )
    return _section(
        "Rejected records",
        "A record that no retry can repair is stored on S3 with its bytes and the reason."
        " It does not delay other records.",
        _table(("Defect", "Reason", "Records"), cells, numeric={2}),
    )


def _footer(figures: ReportFigures) -> str:
    flavour = str(figures.summary["model_flavour"])
    return (
        '<footer><div class="wrap">'
        f"<p>Model <code>{escape(figures.version)}</code>, served as"
        f" {escape(FLAVOURS.get(flavour, flavour))}, on an embedded Kinesis and S3. One machine"
        " ran the producer, Kinesis, the function and the reader: latency and rides a second are"
        " those of this machine, not of AWS, and not the maximum that the function can process."
        " RMSE is the root mean square error."
        "</p></div></footer>"
    )


def _section(title: str, text: str, body: str) -> str:
    return f"<section><h2>{title}</h2><p>{text}</p><div class=body>{body}</div></section>"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _table(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Set[int],
    spare: Set[int] = frozenset(),
) -> str:
    """Return an HTML table; narrow screens do not show the *spare* columns."""
    kinds = [
        f' class="{"number " * (column in numeric)}{"spare" * (column in spare)}"'
        for column in range(len(names))
    ]
    head = "".join(
        f"<th scope=col{kind}>{name}</th>" for name, kind in zip(names, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        "<div class=table tabindex=0><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _number(value: float | None, digits: int) -> str:
    return "&ndash;" if value is None else rounded(value, digits)
