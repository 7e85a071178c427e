from __future__ import annotations

import time

import pytest

from model_service import format_names


@pytest.mark.parametrize(
    "content",
    [
        b"A" * 16 + b" " * 400_000 + b"!",
        b"A" * 16 + b"\n" * 400_000 + b"!",
        b" " * 400_000 + b"A" * 400_000,
    ],
)
def test_a_megabyte_that_is_almost_base64_is_named_in_linear_time(content: bytes) -> None:
    started = time.process_time()

    format_names.fault_of_format(content)

    assert time.process_time() - started < 0.5
