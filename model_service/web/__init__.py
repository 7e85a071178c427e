"""The web service: HTTP routes that score rides, the riders' page, and the API reference.

Imports the core and `models` only; `predict.py` at the top of the repository starts it.
"""
