"""Entry point for ``spark-submit``: ``batch_job.py INPUT… --output DIR``.

The options are the same as those of ``python -m model_service.batch score``.
"""

from __future__ import annotations

import sys

from model_service.batch.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:], "--engine", "spark"]))
