"""The demo: train a model, stream rides through the real function, count and report the results.

This room may import `model_service`, `training` and the rest of `local`.
"""
