"""A deterministic simulator of the stream scorer between Kinesis, Lambda and S3.

One seed decides everything: the records, the settings of the mapping, the faults and their times.
``python -m simulation --seed 4711`` replays a run.  This package runs the real `stream.process`
behind the real core of `event_source_mapping`; no image contains it.
"""
