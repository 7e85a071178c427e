"""The command line of training, ``python -m training COMMAND``.

Results go to files and standard output; progress and errors go to standard error.  If the input or
an option is wrong, the command prints one sentence and exits with code 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from model_service.errors import ServiceError

from .commands import arguments
from .commands.console import say


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    *argv* are the words after ``python -m training``; None for those of this process.
    """
    options = arguments.parser().parse_args(argv)
    console = Console(stderr=True)
    errors = Console(stderr=True, style="red")
    try:
        return _run(options, console)
    except ServiceError as exc:
        say(errors, str(exc))
    except OSError as exc:  # an output path cannot be written
        say(errors, f"{exc.filename}: {exc.strerror}." if exc.filename else f"{exc.strerror}.")
    except KeyboardInterrupt:
        say(errors, "Interrupted.")
        return arguments.INTERRUPTED
    return 2


def _run(options: argparse.Namespace, console: Console) -> int:
    """Run the selected command and return its exit code.

    The modules of the commands are imported here, because some of them take seconds to import.
    """
    from .commands import make_models

    if options.command in make_models.COMMANDS:
        return make_models.COMMANDS[options.command](options, console)
    from .commands import evaluate_models, release_models

    commands = release_models.COMMANDS | evaluate_models.COMMANDS
    return commands[options.command](options, console)


if __name__ == "__main__":
    sys.exit(main())
