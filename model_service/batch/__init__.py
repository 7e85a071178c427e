"""Batch scoring: reads files of rides and writes files of predictions.

A job is started by a command, on a schedule, or on Spark.  This package may import the core,
`models` and `datasets`.
"""
