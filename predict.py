"""WSGI entry point of the web service: loads the models once, before gunicorn forks."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

from model_service.errors import ServiceError
from model_service.models import served
from model_service.settings import WebSettings
from model_service.web import app as web


def write(line: bytes) -> None:
    """One call a line, so that those of several workers do not mix."""
    with suppress(OSError):  # nobody reads the log: that is no fault of the request
        os.write(1, line)


try:
    settings = WebSettings.from_env(os.environ)
    models = served.load(settings)
except ServiceError as exc:
    sys.exit(f"cannot start: {exc}")
app = web.create_app(models, write=write, multiprocess_dir=settings.prometheus_multiproc_dir)
gc.collect()
gc.freeze()  # what is loaded by now lives as long as the workers: their memory stays shared
