"""The champion and its intervals, its ONNX form, and the baselines that it must beat.

This package imports the core, the served model flavours, ``data`` and ``metrics``.
"""
