"""WSGI entry point of the web service (``predict:app``).

The models are loaded once, before gunicorn forks its workers.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

from model_service.decisions import store
from model_service.errors import ServiceError
from model_service.models import served
from model_service.settings import WebSettings
from model_service.web import app as web


def write(line: bytes) -> None:
    """Write *line* to standard output in one call, so that lines of several workers do not mix."""
    with suppress(OSError):  # a closed log must not fail the request
        os.write(1, line)


try:
    settings = WebSettings.from_env(os.environ)
    models = served.load(settings)
    table = store.connect(settings.decisions_table_name) if settings.decisions_table_name else None
except ServiceError as exc:
    sys.exit(f"cannot start: {exc}")
app = web.create_app(
    models,
    write=write,
    multiprocess_dir=settings.prometheus_multiproc_dir,
    find=table.find if table else None,
)
gc.collect()
gc.freeze()  # garbage collection in a worker would copy the memory that the workers share
