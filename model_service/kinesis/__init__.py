"""The code that all consumers of a Kinesis stream share: records, publishing, rejects, metrics.

This package may import the core.
"""
