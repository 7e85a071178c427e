"""Finds unknown fields in a ride whose names resemble the name of an optional field.

The service ignores unknown fields.  A client that misspells ``pickup_datetime`` would therefore
silently get a quote for the current time, so the quote has a warning with the name of the field.
Comparing names takes much longer than reading them, so only a few names are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import chain, islice

import msgspec
from msgspec import Raw

from .. import rides

OPTIONAL = ("pickup_datetime", "ride_id")
REQUIRED = ("PULocationID", "DOLocationID", "trip_distance")
SIMILAR = 0.8
"""Ratio of `difflib` from which two names resemble each other."""

MAX_UNKNOWN = 50
"""How many unknown fields of a ride are looked at."""

MAX_COMPARED = 5
"""How many of these are compared with the optional fields, so the highest number of warnings."""

SAFE = re.compile(r"[\w -]{1,64}", re.ASCII)
"""The names that a warning may repeat."""

TIMES = {"pickup", "pickuptime", "pickupdate", "pickupat", "datetime", "requestdatetime"}
"""Other names of the pick-up time, without underscores and in lower case."""


def _plain(name: str) -> str:
    return name.translate(SEPARATORS).lower()


SEPARATORS = str.maketrans("", "", "_ -")
PLAIN = {name: _plain(name) for name in OPTIONAL}

_fields = msgspec.json.Decoder(dict[str, Raw])


def warnings(data: bytes | Raw, *, wrapped: bool) -> list[str]:
    """Return a warning for each unknown field in *data* that resembles an optional field.

    *data* is the JSON of a valid ride, or of a ride event if *wrapped*.  Fields beyond
    `MAX_UNKNOWN` and `MAX_COMPARED` are skipped.  Raises `MalformedJson` if the name of a field is
    not valid.

    >>> ride = b'{"PULocationID": 1, "DOLocationID": 2, "trip_distance": 3, "PickupDatetime": 4}'
    >>> warnings(ride, wrapped=False)
    ['`PickupDatetime` was ignored; the field is named `pickup_datetime`']
    """
    if bytes(data).count(b'"') <= 2 * (len(REQUIRED) + wrapped):  # around the required names
        return []
    fields: dict[str, Raw] = rides.parse(_fields, data)
    if not wrapped:
        unknown: Iterator[str] = (name for name in fields if name not in {*REQUIRED, *OPTIONAL})
        given = _given(fields)
    else:
        ride: dict[str, Raw] = rides.parse(_fields, fields["ride"])
        inside = (name for name in ride if name not in {*REQUIRED, "pickup_datetime"})
        beside = (name for name in fields if name not in {"ride", "ride_id"})
        unknown = chain(inside, beside)
        given = (_given(fields) & {"ride_id"}) | (_given(ride) & {"pickup_datetime"})
    candidates = (name for name in islice(unknown, MAX_UNKNOWN) if _is_candidate(name))
    return list(_warnings(islice(candidates, MAX_COMPARED), given))


def _given(fields: dict[str, Raw]) -> set[str]:
    """Return the names of the optional fields that *fields* has, and that are not null."""
    return {name for name in OPTIONAL if name in fields and bytes(fields[name]) != b"null"}


def _warnings(unknown: Iterable[str], given: set[str]) -> Iterator[str]:
    """Yield a warning for each *unknown* name that resembles an optional field that is not *given*.

    An optional field itself is unknown if it is in the wrong object of a ride event.
    """
    for name in unknown:
        meant = _meant(name)
        if meant is None or meant in given:
            continue
        if name == meant:
            where = "inside" if name == "pickup_datetime" else "beside"
            yield f"`{name}` was ignored; it belongs {where} `ride`"
        else:
            yield f"`{name}` was ignored; the field is named `{meant}`"


def _is_candidate(name: str) -> bool:
    """Return whether a warning may repeat *name*, and `_meant` may find the field that it means."""
    return bool(SAFE.fullmatch(name)) and _may_resemble(name)


@lru_cache(1024)
def _may_resemble(name: str) -> bool:
    """Return whether *name* is another name of an optional field, or has most of its letters.

    The ratio of `difflib` is twice the number of matching characters, divided by the characters of
    both names.  This function compares an upper bound of it, which takes much less time.
    """
    plain = _plain(name)
    for wanted in PLAIN.values():
        matching = min(len(plain), len(wanted) - len({*wanted} - {*plain}))
        if plain.endswith(wanted) or 2 * matching >= SIMILAR * (len(plain) + len(wanted)):
            return True
    return plain in TIMES


def _meant(name: str) -> str | None:
    """Return the optional field that *name* resembles.

    >>> [_meant(name) for name in ("lpep_pickup_datetime", "rideId", "dropoff_datetime", "driver")]
    ['pickup_datetime', 'ride_id', None, None]
    """
    plain = _plain(name)
    if "dropoff" in plain:
        return None
    for field, wanted in PLAIN.items():
        if plain.endswith(wanted) or SequenceMatcher(None, plain, wanted).ratio() >= SIMILAR:
            return field
    return "pickup_datetime" if plain in TIMES else None
