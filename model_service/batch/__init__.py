"""Batch scoring: files of rides to files of predictions, by command, on a schedule or on Spark.

It may import the core, `models` and `datasets`.
"""
