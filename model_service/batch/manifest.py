"""The manifest of an input: a file in the output that says that the input is scored completely.

It records what the output was made from, so that a changed input, model or range is scored again,
and the counts and errors from which the report is made without reading the output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from ..datasets.files import Input, Output
from ..models.served import Models
from .evaluation import ErrorSums

FORMAT_VERSION = 1
"""Raise it when the output's format changes, to have all inputs scored again."""


class CompletedInput(Struct, frozen=True, kw_only=True):
    """The result of an input that was scored, as the manifest holds it."""

    input: str
    made_from: list[str]
    """Everything that the bytes of the output depend on."""
    rows: int
    scored: int
    rejected: int
    reasons: dict[str, int]
    """Reason for rejection -> number of rows."""
    months: dict[str, ErrorSums]
    """Month of pick-up -> sums of errors."""
    rides: dict[str, int]
    """Month of pick-up -> number of scored rides."""
    files: list[str]
    """Names of the output files."""


class FailedInput(Struct, frozen=True):
    """The result of an input that cannot be read."""

    input: str
    reason: str


InputResult = CompletedInput | FailedInput


def find(
    source: Input, names: Sequence[str], output: Output, models: Models
) -> CompletedInput | None:
    """Return the manifest of *source*, or None if there is none or it is out of date.

    *names* are the files of *output*.  Raises `OutputError` if the manifest cannot be read.
    """
    if file_name(source) not in names:
        return None
    try:
        completed = decode(output.folder.read(file_name(source)))
    except msgspec.DecodeError:  # written in an earlier format
        return None
    is_current = completed.made_from == made_from(models, source)
    return completed if is_current and {*completed.files} <= {*names} else None


def made_from(models: Models, source: Input) -> list[str]:
    """Return everything that the bytes of *source*'s output depend on."""
    targets = [
        f"{served.target.field} of {served.model.version}, SHA-256 {served.sha256},"
        f" {served.target.model_name}, from {served.target.minimum:g} to"
        f" {served.target.maximum:g}"
        for served in models
    ]
    return [f"layout {FORMAT_VERSION}", f"{source.size} bytes, {source.stamp}", *targets]


def encode(completed: CompletedInput) -> bytes:
    """Return the content of the manifest."""
    return msgspec.json.format(msgspec.json.encode(completed)) + b"\n"


def decode(data: bytes) -> CompletedInput:
    """Return the result that a manifest holds.  Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(data, type=CompletedInput)


def file_name(source: Input) -> str:
    """Return the name of the manifest of *source* in the output."""
    return f"done/{source.name}.json"


def output_files(source: Input, names: Sequence[str]) -> Iterator[str]:
    """Yield those of *names*, the files of an output, that were made from *source*."""
    for name in names:
        folder, _, file = name.rpartition("/")
        stem = file.removesuffix(".parquet")
        if folder.startswith(("rides", "rejected")) and (
            stem == source.name or stem.rpartition("-")[0] == source.name
        ):
            yield name
