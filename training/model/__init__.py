"""The champion and its intervals, its export to ONNX, and the baselines that it must beat.

This package imports the core, the served model flavours, ``data`` and ``metrics``.
"""
