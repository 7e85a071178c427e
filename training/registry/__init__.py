"""Works with MLflow: logs runs, registers models, and promotes and releases them.

This package imports the core, the served models, ``data``, ``metrics``, ``model`` and ``reports``.
"""
