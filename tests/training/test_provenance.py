from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from training.data import provenance


def test_a_fingerprint_depends_on_the_content_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"rides")
    (tmp_path / "b").write_bytes(b"rides")

    first, second = (provenance.fingerprint(tmp_path / name) for name in "ab")

    assert first.sha256 == second.sha256 == hashlib.sha256(b"rides").hexdigest()
    assert (first.name, first.bytes) == ("a", 5)


def test_several_files_have_one_fingerprint_in_any_order(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    files = [provenance.fingerprint(tmp_path / name) for name in "ab"]

    assert provenance.combined_sha256(files) == provenance.combined_sha256(files[::-1])
    assert provenance.combined_sha256(files) != provenance.combined_sha256(files[:1])


def test_the_revision_tells_whether_files_have_changed(tmp_path: Path) -> None:
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    for arguments in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "Begin"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)

    clean = provenance.revision(tmp_path)
    (tmp_path / "new").touch()

    assert re.fullmatch("[0-9a-f]{40}", clean)
    assert provenance.revision(tmp_path) == f"{clean}-changed"


def test_without_git_the_revision_is_the_variable_or_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVISION", "abc")
    assert provenance.revision(tmp_path) == "abc"

    monkeypatch.delenv("REVISION")
    assert provenance.revision(tmp_path) == "unknown"


def test_the_environment_has_the_versions_of_the_libraries() -> None:
    found = provenance.environment()

    assert set(provenance.LIBRARIES) <= set(found)
    assert all(found.values())
