"""Reads files of rides in the formats Parquet, CSV and JSON lines, as chunks of rows.

This package may import the core and the modules of `datasets`.
"""
