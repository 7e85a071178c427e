"""What all consumers of a Kinesis stream share: records, publishing, rejects, accounting, metrics.

May import the core.
"""
