"""The commands of docs/producers.md print what the page says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .test_docs import ROOT, blocks

PAGE = ROOT / "docs" / "producers.md"


def test_the_check_of_the_page_refuses_its_second_ride(tmp_path: Path) -> None:
    script, _ = blocks(PAGE, "sh")
    expected = re.findall(r"^```\n(line 1.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)

    done = subprocess.run(
        ["bash", "-uc", script.replace("build", str(tmp_path))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert [done.stdout] == expected
