"""The web service: HTTP routes that score rides, the riders' page, and the API reference.

This package may import the core and `models` only.  `predict.py`, in the root of the repository,
creates the application.
"""
