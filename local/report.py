"""The demo's report: figures in, one page out that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from . import pictures
from .pictures import Floats
from .source import Trip
from .tally import Streamed

SAMPLE = 14  # rides in the table


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the page says."""

    summary: Mapping[str, Any]
    faults: Sequence[str]
    reasons: Mapping[tuple[str, str], int]
    """Rejections by what was wrong, and the reason given."""
    baseline_rmse: float
    trained_on: str
    tested_on: str
    version: str
    true: Floats
    predicted: Floats
    hour: Floats
    """Of the whole test month, as `true` and `predicted`."""
    rides: Sequence[Streamed]
    rows: Sequence[tuple[Trip, float]]
    """A sample: rides, and the minutes predicted."""


def html(figures: Figures) -> str:
    """The page."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
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


def _header(title: str, figures: Figures) -> str:
    counts = figures.summary
    rides = "rides of the TLC" if counts["source"] == "tlc" else "simulated rides"
    story = (
        f"{counts['rides_sent']:,} {rides} and {counts['bad_records_sent']:,} broken records went"
        f" onto a stream. {counts['rides_predicted']:,} rides came back with a prediction,"
        f" {counts['rejected']:,} records were set aside, {counts['lost']:,} were lost."
    )
    faults = "".join(f"<li>{escape(fault)}</li>" for fault in figures.faults)
    return (
        '<header><div class="wrap"><p class="eyebrow">Ride predictions</p>'
        f"<h1>{title}</h1><p class=lead>{story}</p>"
        + (f'<ul class="faults">{faults}</ul>' if faults else "")
        + f"{_tiles(figures)}</div></header>"
    )


def _tiles(figures: Figures) -> str:
    counts = figures.summary
    better = 1 - counts["rmse_minutes"] / figures.baseline_rmse
    tiles = [
        ("Predicted", f"{counts['rides_predicted']:,}", f"of {counts['rides_sent']:,} rides"),
        ("Rejected", f"{counts['rejected']:,}", f"of {counts['bad_records_sent']:,} broken"),
        ("Lost", f"{counts['lost']:,}", f"{counts['duplicates']:,} duplicates"),
        (
            "Rides a second",
            _number(counts["rides_per_second"], 0),
            "first ride sent to last answer",
        ),
        (
            "Ride to prediction",
            f"{_number(counts['latency_ms']['p50'], 0)}<small> ms</small>",
            f"99 of 100 within {_number(counts['latency_ms']['p99'], 0)} ms",
        ),
        (
            "Error (RMSE)",
            f"{counts['rmse_minutes']:.2f}<small> min</small>",
            f"{abs(better):.0%} {'below' if better > 0 else 'above'} a linear model&rsquo;s "
            f"{figures.baseline_rmse:.2f}",
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


def _stream(figures: Figures) -> str:
    p50, p99 = (_number(figures.summary["latency_ms"][name], 0) for name in ("p50", "p99"))
    if not figures.rides:
        return _section("How the stream ran", "No ride was predicted.", "")
    latency = pictures.latency(
        [ride.latency_ms for ride in figures.rides],
        alt=f"Histogram of latency: half of the rides within {p50} ms, 99 of 100 within {p99} ms.",
    )
    sent = np.array([ride.sent_at for ride in figures.rides])
    answered = sent + np.array([ride.latency_ms for ride in figures.rides]) / 1000
    pace = pictures.keeping_up(
        sent,
        answered,
        alt=f"Rides sent and predictions published over {answered.max():.1f} seconds.",
    )
    return _section(
        "How the stream ran",
        "From the arrival of a ride on the input stream to that of its prediction on the output"
        " stream, by the clock of the streams.",
        _figure(latency, "How long each ride waited.")
        + _figure(pace, "The further apart the lines, the longer the queue."),
    )


def _model(figures: Figures) -> str:
    rmse = figures.summary["rmse_minutes"]
    error = figures.predicted - figures.true
    by_hour = [np.mean(np.abs(error[figures.hour == h])) for h in np.unique(figures.hour)]
    match = pictures.predicted_against_true(
        figures.true,
        figures.predicted,
        alt=f"Predicted against true minutes of {len(error):,} rides: they lie along the diagonal,"
        f" with a root mean square error of {rmse:.2f} minutes.",
    )
    hours = pictures.error_by_hour(
        figures.hour,
        error,
        alt=f"Mean absolute error by hour of the day, from {min(by_hour):.1f}"
        f" to {max(by_hour):.1f} minutes.",
    )
    return _section(
        "How good the model is",
        f"Trained on {escape(figures.trained_on)}, and tried on all {len(error):,} rides of"
        f" {escape(figures.tested_on)}, a month that it had not seen. On the rides that were"
        f" streamed, the error is {_number(figures.summary['rmse_minutes_streamed'], 2)} minutes.",
        _figure(match, "Each cell is a kind of ride; the stronger, the more rides.")
        + _figure(hours, "Mean error of the rides that began in each hour."),
    )


def _sample(rows: Sequence[tuple[Trip, float]]) -> str:
    cells = (
        (
            str(trip.ride_id),
            escape(trip.begins.replace("T", " ")),
            f"{trip.pickup} → {trip.dropoff}",
            f"{trip.distance:.1f}",
            f"{trip.minutes:.1f}",
            f"<b>{predicted:.1f}</b>",
            _off(predicted - trip.minutes),
        )
        for trip, predicted in rows
    )
    names = ("Ride", "Pick-up", "Zones", "Miles", "Took (min)", "Predicted (min)", "Off by")
    return _section(
        "Some of the rides",
        "Picked at random from those that were streamed.",
        _table(names, cells, numeric={3, 4, 5}),
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
        "What was rejected, and why",
        "A record that no retry will fix is kept on S3 with its bytes and the reason, and does not"
        " hold up its neighbours.",
        _table(("What was wrong", "Reason given", "Records"), cells, numeric={2}),
    )


def _footer(figures: Figures) -> str:
    return (
        '<footer><div class="wrap">'
        f"<p>Model <code>{escape(figures.version)}</code>, served as"
        f" {escape(figures.summary['model_flavour'])}, on an embedded Kinesis and S3:"
        " the latency is that of one machine, not of AWS. RMSE is the root mean square error."
        "</p></div></footer>"
    )


def _section(title: str, text: str, body: str) -> str:
    return f"<section><h2>{title}</h2><p>{text}</p><div class=body>{body}</div></section>"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: set[int]) -> str:
    kinds = [" class=number" if place in numeric else "" for place in range(len(names))]
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
    return "&ndash;" if value is None else f"{value:,.{digits}f}"
