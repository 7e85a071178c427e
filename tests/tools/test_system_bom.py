from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tools import system_bom

ROOT = Path(__file__).parents[2]
DEBIAN = "debian\t12\nbash\t5.2.15-2+b7\tamd64\nlibc6\t2.36-9\tamd64\n"
AMAZON = "amzn\t2023\nopenssl-libs\t1:3.2.2-1.amzn2023\tx86_64\n"


def printed(text: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert system_bom.main(["ride-predictions:web", "1.2"]) == 0
    return str(capsys.readouterr().out)


def test_a_bill_names_the_image_and_every_package(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    bill = json.loads(printed(DEBIAN, monkeypatch, capsys))

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    image = bill["metadata"]["component"]
    assert (image["type"], image["name"], image["version"]) == (
        "container",
        "ride-predictions:web",
        "1.2",
    )
    assert [component["purl"] for component in bill["components"]] == [
        "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12",
    ]


@pytest.mark.parametrize("text", [DEBIAN, AMAZON], ids=["debian", "amazon"])
def test_a_bill_is_valid_cyclonedx(text: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    bill = printed(text, monkeypatch, capsys)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not one of tools/system_packages.sh"),
        ("debian\t12\n", "is not one of tools/system_packages.sh"),
        ("debian\t12\nbash 5\n", "is not one of tools/system_packages.sh"),
        ("alpine\t3\nmusl\t1\tx86_64\n", "the system alpine is none of amzn, debian"),
    ],
)
def test_another_list_is_refused(
    text: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    assert system_bom.main(["image", "1"]) == 1
    assert sentence in capsys.readouterr().err


def test_the_list_of_a_debian_system_makes_a_bill() -> None:
    """The script runs on this machine, if it has Debian's packages."""
    if not Path("/var/lib/dpkg/status").exists():
        pytest.skip("this machine has no Debian packages")
    listed = subprocess.run(
        ["sh", ROOT / "tools/system_packages.sh"], capture_output=True, text=True, check=True
    ).stdout
    if not listed.startswith("debian\t"):
        pytest.skip("this machine is not Debian")

    bom = system_bom.bill("a-machine", "1", listed.splitlines())

    assert "bash" in {component.name for component in bom.components}
