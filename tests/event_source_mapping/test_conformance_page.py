"""The page on the event source mapping lists each fact with its test, and each assumption."""

from __future__ import annotations

import re
from pathlib import Path

from event_source_mapping import assumed

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/event-source-mapping.md"
FACTS = 16


def test_each_fact_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (\d+) \|.*`test_.*\|$", PAGE.read_text(), re.MULTILINE)
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    defined = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }

    assert rows == [str(number) for number in range(1, FACTS + 1)]
    assert named <= defined
    assert {name for name in defined if name.startswith("test_fact_")} <= named


def test_the_page_lists_exactly_the_assumptions_of_the_code() -> None:
    constants = {name for name in vars(assumed) if name.endswith("_ASSUMED")}

    assert set(re.findall(r"^\| `(\w+_ASSUMED)` \|", PAGE.read_text(), re.MULTILINE)) == constants
