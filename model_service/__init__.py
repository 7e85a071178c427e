"""Scores ride events with a trained model.

The modules in this folder are the core.  Read them in the order in which a ride passes them:
``payloads`` (the bytes in a record), ``rides`` (the ride events), ``features``, and ``scoring``.
The folders ``stream``, ``web`` and ``batch`` are the interfaces to the core.  They share the
folders ``models``, ``kinesis`` and ``datasets``.

Importing the package makes no connections: only the entry points make them.
"""
