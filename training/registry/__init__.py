"""MLflow: runs that are logged, registered models and their champion, promotion and release.

This package imports the core, the served models, ``data``, ``metrics``, ``model`` and ``reports``.
"""
