"""The note that says of an input: it is done, from this, and came to that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from ..batch.evaluation import Tally
from ..models.served import Models
from .files import Input, Output

LAYOUT = 1
"""Of what is written; another number makes all notes unfit."""


class Done(Struct, frozen=True, kw_only=True):
    """The note: what became of an input."""

    input: str
    made_from: list[str]
    """What decides over the bytes of the files."""
    rows: int
    scored: int
    rejected: int
    reasons: dict[str, int]
    months: dict[str, Tally]
    rides: dict[str, int]
    """Scored, by month."""
    files: list[str]


class Failed(Struct, frozen=True):
    """An input that cannot be read."""

    input: str
    why: str


Outcome = Done | Failed


def fitting(source: Input, names: Sequence[str], output: Output, models: Models) -> Done | None:
    """The note of *source* among the *names* of *output*, where it fits."""
    if name(source) not in names:
        return None
    try:
        done = msgspec.json.decode(output.read(name(source)), type=Done)
    except msgspec.DecodeError:  # of an earlier layout
        return None
    fits = done.made_from == made_from(models, source) and {*done.files} <= {*names}
    return done if fits else None


def encode(done: Done) -> bytes:
    """As the file's bytes."""
    return msgspec.json.format(msgspec.json.encode(done)) + b"\n"


def made_of(source: Input, names: Sequence[str]) -> Iterator[str]:
    """The files that are there of an input."""
    for file in names:
        folder, _, last = file.rpartition("/")
        stem = last.removesuffix(".parquet")
        if folder.startswith(("rides", "rejected")) and (
            stem == source.name or stem.rpartition("-")[0] == source.name
        ):
            yield file


def made_from(models: Models, source: Input) -> list[str]:
    """What decides over the bytes of the files that are made of *source*."""
    asked = [
        f"{served.target.field} of {served.model.version}, {served.target.model_name}, from"
        f" {served.target.minimum:g} to {served.target.maximum:g}"
        for served in models
    ]
    return [f"layout {LAYOUT}", f"{source.size} bytes, {source.stamp}", *asked]


def name(source: Input) -> str:
    """Of its note."""
    return f"done/{source.name}.json"
