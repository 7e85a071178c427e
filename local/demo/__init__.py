"""The demo: trains a model, streams rides through the real function, and reports the results.

This package may import `model_service`, `training` and the rest of `local`.
"""
