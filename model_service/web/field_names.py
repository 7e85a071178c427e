"""Finds unknown fields in a ride whose names resemble the name of an optional field.

The service ignores unknown fields.  A client that misspells ``pickup_datetime`` would therefore
silently get a quote for the current time, so the quote has a warning with the name of the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher

import msgspec
from msgspec import Raw

from .. import rides

OPTIONAL = ("pickup_datetime", "ride_id")
REQUIRED = ("PULocationID", "DOLocationID", "trip_distance")
SIMILAR = 0.8
"""Ratio of `difflib` from which two names resemble each other."""

SAFE = re.compile(r"[\w -]{1,64}", re.ASCII)
"""The names that a warning may repeat."""

TIMES = {"pickup", "pickuptime", "pickupdate", "pickupat", "datetime", "requestdatetime"}
"""Other names of the pick-up time, without underscores and in lower case."""

_fields = msgspec.json.Decoder(dict[str, Raw])


def warnings(data: bytes | Raw, *, wrapped: bool) -> list[str]:
    """Return a warning for each unknown field in *data* that resembles an optional field.

    *data* is the JSON of a valid ride, or of a ride event if *wrapped*.

    >>> ride = b'{"PULocationID": 1, "DOLocationID": 2, "trip_distance": 3, "PickupDatetime": 4}'
    >>> warnings(ride, wrapped=False)
    ['`PickupDatetime` was ignored; the field is named `pickup_datetime`']
    """
    if bytes(data).count(b'"') <= 2 * (len(REQUIRED) + wrapped):  # around the required names
        return []
    fields: dict[str, Raw] = rides.parse(_fields, data)
    if not wrapped:
        return list(_warnings(fields, known={*REQUIRED, *OPTIONAL}, given=_given(fields)))
    ride = _fields.decode(fields["ride"])
    given = (_given(fields) & {"ride_id"}) | (_given(ride) & {"pickup_datetime"})
    inside = _warnings(ride, known={*REQUIRED, "pickup_datetime"}, given=given)
    beside = _warnings(fields, known={"ride", "ride_id"}, given=given)
    return [*inside, *beside]


def _given(fields: dict[str, Raw]) -> set[str]:
    """Return the names of the fields that are not null."""
    return {name for name, value in fields.items() if bytes(value) != b"null"}


def _warnings(names: Iterable[str], *, known: set[str], given: set[str]) -> Iterator[str]:
    """Yield a warning for each of *names* that resembles an optional field, unless it is *given*.

    An optional field itself is not *known* if it is in the wrong object of a ride event.
    """
    for name in names:
        meant = None if name in known else _meant(name)
        if meant is None or meant in given or not SAFE.fullmatch(name):
            continue
        if name == meant:
            where = "inside" if name == "pickup_datetime" else "beside"
            yield f"`{name}` was ignored; it belongs {where} `ride`"
        else:
            yield f"`{name}` was ignored; the field is named `{meant}`"


def _meant(name: str) -> str | None:
    """Return the optional field that *name* resembles.

    >>> [_meant(name) for name in ("lpep_pickup_datetime", "rideId", "dropoff_datetime", "driver")]
    ['pickup_datetime', 'ride_id', None, None]
    """
    plain = re.sub(r"[_ -]", "", name).lower()
    if "dropoff" in plain:
        return None
    for field in OPTIONAL:
        wanted = field.replace("_", "")
        if plain.endswith(wanted) or SequenceMatcher(None, plain, wanted).ratio() >= SIMILAR:
            return field
    return "pickup_datetime" if plain in TIMES else None
