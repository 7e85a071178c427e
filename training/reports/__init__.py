"""Reports on a trained model: its metrics, plots and model card, as files in memory.

This package imports the core, ``data``, ``metrics`` and ``model``.  It does not log to MLflow.
"""
