"""The embedded AWS that tests share, because each new one takes more than a second to start."""

from __future__ import annotations

from http.client import HTTPConnection

from local.aws.server import Embedded


def clear(aws: Embedded) -> None:
    """Delete all streams, buckets and stacks."""
    connection = HTTPConnection(aws.endpoint.removeprefix("http://"))
    try:
        connection.request("POST", "/moto-api/reset")
        response = connection.getresponse()
        response.read()
    finally:
        connection.close()
    assert response.status == 200
