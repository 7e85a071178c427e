"""Months of taxi rides: downloads or simulates files, and reads and cleans them into arrays.

This package imports the core and the months of ``model_service.datasets``, and nothing else of
``training``.
"""
