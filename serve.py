"""Starts the web service: ``python serve.py``, with the options of gunicorn.

It does the same as ``gunicorn predict:app``, but reports wrong settings in one line.  gunicorn
reads WEB_CONCURRENCY on import and ends with a traceback if it is not a number.
"""

from __future__ import annotations

import os
import sys

from model_service.errors import SettingsError
from model_service.settings import WebSettings

INFORMATION = {"-h", "--help", "-v", "--version"}  # these options start no server


def main(arguments: list[str]) -> None:
    starts = INFORMATION.isdisjoint(arguments)
    try:
        if starts:
            WebSettings.from_env(os.environ)
    except SettingsError as exc:
        sys.exit(f"cannot start: {exc}")
    if not starts or not os.environ.get("WEB_CONCURRENCY", "").strip():
        os.environ.pop("WEB_CONCURRENCY", None)  # an empty value is not a number either
    from gunicorn.app.wsgiapp import run

    sys.argv = ["gunicorn", *arguments, "predict:app"]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])
