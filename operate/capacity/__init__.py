"""Calculates the capacity and the cost of the service on AWS, for a load and a design.

Everything here is pure calculation, except `__main__`, which reads the command line.  The prices
are in `prices`, the measured figures in `figures`, and AWS's limits in `limits`.  This package may
import nothing of the service.
"""
