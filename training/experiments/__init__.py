"""Experiments: backtests, the comparison of models, and the search for hyper-parameters.

This package imports all of ``training`` except ``pipeline`` and ``commands``.
"""
