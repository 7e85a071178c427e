"""Responses that the worker writes itself; test_worker covers them on sockets."""

from __future__ import annotations

from datetime import UTC, datetime
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

from model_service.web import wire


def test_response_has_the_current_date() -> None:
    before = datetime.now(UTC).replace(microsecond=0)

    _, _, rest = wire.answer("200 OK", [], b"").partition(b"\r\n")

    date = parsedate_to_datetime(BytesParser().parsebytes(rest)["Date"])
    assert before <= date <= datetime.now(UTC)
