"""Starts the web service: ``python serve.py``, with gunicorn's own options.

The same as ``gunicorn predict:app``, but for settings that are wrong: gunicorn reads
WEB_CONCURRENCY on import, and ends in a traceback where it is no number.
"""

from __future__ import annotations

import os
import sys

from model_service.errors import SettingsError
from model_service.settings import WebSettings

SAYS = {"-h", "--help", "-v", "--version"}  # and starts nothing


def main(arguments: list[str]) -> None:
    starts = SAYS.isdisjoint(arguments)
    try:
        if starts:
            WebSettings.from_env(os.environ)
    except SettingsError as exc:
        sys.exit(f"cannot start: {exc}")
    if not starts or not os.environ.get("WEB_CONCURRENCY", "").strip():
        os.environ.pop("WEB_CONCURRENCY", None)  # nor is nothing a number
    from gunicorn.app.wsgiapp import run

    sys.argv = ["gunicorn", *arguments, "predict:app"]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])
