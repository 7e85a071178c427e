"""Rules that all commands of this package share: exit codes, and how an error ends a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes; 0 means that everything is done


class CommandError(Exception):
    """A command cannot do what its arguments request; the message is for the person who runs it."""


def run(name: str, command: Callable[[], int], *, interrupted: str = "stopped") -> int:
    """Run *command* and return its exit code.

    A `CommandError` or an interruption prints one line on standard error: *name*, the name of the
    command, and the error's message or the text *interrupted*.
    """
    try:
        return command()
    except CommandError as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr)
        return INTERRUPTED


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return an argument type for argparse: it parses whole numbers from *low* to *high*.

    >>> whole_number(1, 10)("7")
    7
    """

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {low} to {high}, not {text!r}"
            )
        return int(text)

    return parse
