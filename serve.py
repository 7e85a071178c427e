"""Starts the web service: ``python serve.py [gunicorn options]``.

The program checks the settings, and then runs ``gunicorn predict:app``.  It has to check them
before it imports gunicorn, because the import fails with a traceback if WEB_CONCURRENCY is not a
number.
"""

from __future__ import annotations

import os
import sys

from model_service.errors import SettingsError
from model_service.settings import WebSettings

INFORMATION = {"-h", "--help", "-v", "--version"}  # options that start no server


def main(arguments: list[str]) -> None:
    starts_server = INFORMATION.isdisjoint(arguments)
    try:
        if starts_server:
            WebSettings.from_env(os.environ)
    except SettingsError as exc:
        sys.exit(f"cannot start: {exc}")
    if not starts_server or not os.environ.get("WEB_CONCURRENCY", "").strip():
        os.environ.pop("WEB_CONCURRENCY", None)  # gunicorn does not accept an empty value either
    from gunicorn.app.wsgiapp import run

    sys.argv = ["gunicorn", *arguments, "predict:app"]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])
