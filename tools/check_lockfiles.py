"""Completes lock files: removes package indexes, and checks that all categories agree on versions.

Pipenv resolves each category separately, but all categories are installed into one environment.
If two of them pin different versions of a package, one overwrites the other.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def disagreements(lock: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each package that has different versions in the categories of *lock*.

    *lock* is the content of a Pipfile.lock.

    >>> disagreements({"_meta": {}, "a": {"x": {"version": "==1"}}, "b": {"x": {"version": "==2"}}})
    ['x: a ==1, b ==2']
    """
    pins: dict[str, dict[str, str]] = {}
    for category, packages in lock.items():
        for name, pin in packages.items() if category != "_meta" else ():
            pins.setdefault(name, {})[category] = pin.get("version", "")
    return [
        f"{name}: {', '.join(f'{category} {version}' for category, version in pin.items())}"
        for name, pin in pins.items()
        if len(set(pin.values())) > 1
    ]


def main(paths: list[str]) -> int:
    found = []
    for path in map(Path, paths):
        lock = json.loads(path.read_text())
        lock["_meta"]["sources"] = []
        path.write_text(json.dumps(lock, indent=4) + "\n")
        found += [f"{path}: {disagreement}" for disagreement in disagreements(lock)]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
