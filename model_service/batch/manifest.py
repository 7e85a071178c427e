"""Reads and writes manifests: files in the output, one for each completely scored input.

A manifest records the input, the models and the allowed ranges of predictions from which the output
files were made.  If one of these has changed, the input is scored again.  A manifest also has the
counts and errors for the report, so that the report can be made without reading the other output
files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from ..datasets.files import Input, Output
from ..models.served import Models
from .evaluation import ErrorSums

FORMAT_VERSION = 1
"""Increase this number when the output's format changes, so that all inputs are scored again."""


class CompletedInput(Struct, frozen=True, kw_only=True):
    """The result of an input that was scored: the content of its manifest."""

    input: str
    made_from: list[str]
    """Texts that identify everything on which the output depends: input, models and ranges."""
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
    """Return the manifest of *source*, or None if the manifest does not exist or is out of date.

    *names* are the names of the files in *output*.
    Raises `OutputError` if the manifest cannot be read.
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
    """Return texts that identify everything on which the output of *source* depends."""
    targets = [
        f"{served.target.field} of {served.model.version}, SHA-256 {served.sha256},"
        f" {served.target.model_name}, from {served.target.minimum:g} to"
        f" {served.target.maximum:g}"
        for served in models
    ]
    skipped = [f"after {source.skip_through}"] if source.skip_through >= 0 else []
    return [f"layout {FORMAT_VERSION}", f"{source.size} bytes, {source.stamp}", *skipped, *targets]


def encode(completed: CompletedInput) -> bytes:
    """Return the manifest of *completed* as JSON."""
    return msgspec.json.format(msgspec.json.encode(completed)) + b"\n"


def decode(data: bytes) -> CompletedInput:
    """Return the content of the manifest *data*.

    Raises `msgspec.DecodeError` if *data* is not a manifest.
    """
    return msgspec.json.decode(data, type=CompletedInput)


def file_name(source: Input) -> str:
    """Return the name of the output file with the manifest of *source*."""
    return f"done/{source.name}.json"


def output_files(source: Input, names: Sequence[str]) -> Iterator[str]:
    """Yield each of *names* that is an output file of *source*."""
    for name in names:
        folder, _, file = name.rpartition("/")
        stem = file.removesuffix(".parquet")
        if folder.startswith(("rides", "rejected")) and (
            stem == source.name or stem.rpartition("-")[0] == source.name
        ):
            yield name
