"""For ``spark-submit``: ``batch_job.py INPUT… --output DIR``, as ``batch score`` takes them."""

from __future__ import annotations

import sys

from model_service.batch import __main__ as batch

if __name__ == "__main__":
    sys.exit(batch.main(["score", *sys.argv[1:], "--engine", "spark"]))
