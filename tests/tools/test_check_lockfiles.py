from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import check_lockfiles

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["Pipfile.lock", "tools/sam/Pipfile.lock"])
def test_lock_files_of_the_project_name_no_index_and_agree(name: str) -> None:
    lock = json.loads((ROOT / name).read_text())

    assert lock["_meta"]["sources"] == []
    assert check_lockfiles.disagreements(lock) == []


def test_the_index_is_removed_and_a_disagreement_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = {
        "_meta": {"sources": [{"url": "an index"}]},
        "default": {"one": {"version": "==1"}, "two": {"version": "==2"}},
        "dev": {"one": {"version": "==3"}},
    }
    file = tmp_path / "Pipfile.lock"
    file.write_text(json.dumps(lock))

    assert check_lockfiles.main([str(file)]) == 1

    assert capsys.readouterr().err == f"{file}: one: default ==1, dev ==3\n"
    assert json.loads(file.read_text())["_meta"]["sources"] == []
