"""The champion's hyper-parameters: defaults, limits, and the file that ``tune --json`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..data.dataset import DataError

Parameters = Mapping[str, Any]
"""Keyword arguments of scikit-learn's ``HistGradientBoostingRegressor``."""


class HyperParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hyper-parameters that can be set; their limits bound the time of training."""

    max_iter: Annotated[int, Meta(ge=2, le=5_000)] = 240
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 0.055
    max_leaf_nodes: Annotated[int, Meta(ge=2, le=10_000)] = 127
    min_samples_leaf: Annotated[int, Meta(ge=1, le=1_000_000)] = 50
    max_features: Annotated[float, Meta(gt=0, le=1)] = 0.4


class TuningFile(msgspec.Struct, frozen=True):
    """The part of the file written by ``tune --json`` that training reads."""

    parameters: HyperParameters


DEFAULTS: Parameters = MappingProxyType(msgspec.structs.asdict(HyperParameters()))


def read(file: Path | None) -> Parameters:
    """Return the hyper-parameters in *file*, or the defaults if *file* is None.

    The file is one that ``tune --json`` wrote.
    Raises `DataError` if the file cannot be read or a value is outside its limits.
    """
    if file is None:
        return DEFAULTS
    try:
        tuned = msgspec.json.decode(file.read_bytes(), type=TuningFile)
    except (OSError, msgspec.MsgspecError, RecursionError) as exc:
        reason = f": {exc}" if isinstance(exc, msgspec.ValidationError) else "."
        raise DataError(f"{file} has no parameters in the format of tune --json{reason}") from exc
    return msgspec.structs.asdict(tuned.parameters)
