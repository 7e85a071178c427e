"""Experiments: backtests, the comparison of models, and the search for hyper-parameters.

This package imports the core, ``data``, ``metrics``, ``model``, ``inputs``, ``reports`` and
``registry``.
"""
