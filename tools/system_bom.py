"""Writes a bill of materials in CycloneDX for the system packages of an image.

``python -m tools.system_bom NAME VERSION`` reads the list of tools/system_packages.sh from standard
input and prints the bill.  *NAME* and *VERSION* are those of the image.  Scanners find the packages
by their package URLs, such as ``pkg:deb/debian/bash@5.2.15-2?arch=amd64&distro=debian-12``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

TYPES = {"amzn": "rpm", "debian": "deb"}
"""The id of a system in /etc/os-release -> the type of its package URLs."""


class ListError(Exception):
    """The list does not come from tools/system_packages.sh."""


def bill(name: str, version: str, lines: Iterable[str]) -> Bom:
    """Return the bill of the image *name*; *lines* are the list, with or without line ends.

    Raises `ListError` if the list is malformed or empty, or the system is unknown.
    """
    rows = [line.rstrip("\n").split("\t") for line in lines]
    if len(rows) < 2 or len(rows[0]) != 2 or any(len(row) != 3 for row in rows[1:]):
        raise ListError("the list of packages is not one of tools/system_packages.sh")
    system, release = rows[0]
    if system not in TYPES:
        raise ListError(f"the system {system} is none of {', '.join(TYPES)}")
    bom = Bom()
    image = Component(type=ComponentType.CONTAINER, name=name, version=version)
    bom.metadata.component = image
    for package, package_version, architecture in sorted(rows[1:]):
        purl = PackageURL(
            type=TYPES[system],
            namespace=system,
            name=package,
            version=package_version,
            qualifiers={"arch": architecture, "distro": f"{system}-{release}"},
        )
        bom.components.add(
            Component(
                type=ComponentType.LIBRARY,
                name=package,
                version=package_version,
                purl=purl,
                bom_ref=purl.to_string(),
            )
        )
    bom.register_dependency(image, bom.components)
    return bom


def main(arguments: Sequence[str]) -> int:
    """Print the bill and return the exit code."""
    if len(arguments) != 2:
        print("usage: python -m tools.system_bom NAME VERSION <LIST", file=sys.stderr)
        return 2
    try:
        bom = bill(arguments[0], arguments[1], sys.stdin)
    except ListError as exc:
        print(f"system_bom: {exc}", file=sys.stderr)
        return 1
    print(JsonV1Dot6(bom).output_as_string(indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
