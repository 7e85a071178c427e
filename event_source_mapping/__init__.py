"""AWS Lambda's event source mapping for Kinesis, as a library.

`core` is a state machine without input, output, clock or randomness.  Thin drivers run it with a
clock that a test moves (`virtual`, and the fixture `kinesis_mapping` in `pytest_plugin`) or with
threads and real streams (`threads`, and ``python -m event_source_mapping``).  The package imports
nothing else of this repository.
"""
