"""Experiments: backtests, the comparison of models, and the search for hyper-parameters.

This package imports everything of ``training`` but ``pipeline`` and ``commands``.
"""
