"""Loads MLflow models, checks whether they can be trusted, and holds the models that are served.

This package may import the core.
"""

from .loader import load as load
