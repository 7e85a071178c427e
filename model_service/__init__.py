"""Score ride events with a trained model.

Read it in this order: ``rides`` (what comes in and goes out), ``features``, ``scoring``,
``stream`` (the rules of a batch).  These, ``records`` and ``telemetry`` do no I/O;
``model``, ``publisher`` and ``rejects`` do.  Importing the package connects to nothing:
wiring lives in the entry points.
"""
