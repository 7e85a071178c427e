"""What goes past gunicorn, as bytes; test_worker has it on sockets."""

from __future__ import annotations

from datetime import UTC, datetime
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

import msgspec

from model_service import access, wire


def test_an_answer_says_when_it_was_made() -> None:
    before = datetime.now(UTC).replace(microsecond=0)

    _, _, rest = wire.answer("200 OK", [], b"").partition(b"\r\n")

    said = parsedate_to_datetime(BytesParser().parsebytes(rest)["Date"])
    assert before <= said <= datetime.now(UTC)


def test_a_refusal_is_a_problem_as_safe_as_any_answer_and_the_last() -> None:
    line, _, rest = wire.refusal("timeout").partition(b"\r\n")

    found = BytesParser().parsebytes(rest)
    body = found.get_payload(decode=True)
    assert line.startswith(b"HTTP/1.1 408 ")
    assert isinstance(body, bytes) and msgspec.json.decode(body)["status"] == 408
    assert found["Content-Length"] == str(len(body))
    assert found["Connection"] == "close"
    assert {*access.SECURITY, ("Cache-Control", "no-store")} <= set(found.items())
