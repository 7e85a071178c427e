"""The README shows the example as it is tested, and describes everything that a mapping has."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

from event_source_mapping.faults import KINDS, TIMES
from event_source_mapping.settings import Settings
from event_source_mapping.virtual import Invocation, VirtualMapping

from . import course_function, test_course_function

README = Path(__file__).parents[2] / "event_source_mapping/README.md"


def test_the_example_is_the_code_that_is_tested() -> None:
    text = README.read_text()
    test = inspect.getsource(
        test_course_function.test_one_bad_record_blocks_the_shard_and_loses_rides
    )

    assert inspect.getsource(course_function.lambda_handler) in text
    assert test.partition(") -> None:\n")[2] in text
    assert len(textwrap.dedent(test).splitlines()) <= 20


def test_the_readme_names_each_setting_fault_and_attribute() -> None:
    text = README.read_text().replace("\n", " ")
    names = {name for name in dir(VirtualMapping) if not name.startswith("_")}
    names |= {"invocations", "destination", "lost", "stream"} | {*Settings.__slots__}
    names |= {"event", "request_id", "outcome", "at", "error", "data"} & {
        *Invocation.__slots__, "data"
    }  # fmt: skip

    missing = {name for name in names - {"now"} if name not in text}
    assert missing == set()
    assert all(each in text for each in (*KINDS, *TIMES))
