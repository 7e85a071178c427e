"""Loads MLflow models, decides whether they may be trusted, and holds those that are served.

May import the core.
"""

from .loader import load as load
