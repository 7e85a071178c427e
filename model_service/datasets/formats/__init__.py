"""The formats of files of rides: Parquet, CSV and JSON lines, each read as chunks of rows.

It may import the core and the modules of `datasets`.
"""
