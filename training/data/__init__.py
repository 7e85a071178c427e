"""Months of taxi rides: downloaded or simulated files, read and cleaned as arrays.

This package imports the core and the clock and months of ``model_service.datasets``, and nothing
else of ``training``.
"""
