"""What goes past gunicorn, as bytes; test_worker has it on sockets."""

from __future__ import annotations

from datetime import UTC, datetime
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

from model_service.web import wire


def test_an_answer_says_when_it_was_made() -> None:
    before = datetime.now(UTC).replace(microsecond=0)

    _, _, rest = wire.answer("200 OK", [], b"").partition(b"\r\n")

    said = parsedate_to_datetime(BytesParser().parsebytes(rest)["Date"])
    assert before <= said <= datetime.now(UTC)
