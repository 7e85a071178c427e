"""Scores ride events with a trained model.

Follow a ride through the core in this order: ``payloads`` (the bytes in a record), ``rides`` (the
event), ``features``, ``scoring``.  The core does no I/O.  The folders are the interfaces around it:
``stream``, ``web`` and ``batch``, on the shared ``models``, ``kinesis`` and ``datasets``.

Importing the package connects to nothing: the wiring is in the entry points.
"""
