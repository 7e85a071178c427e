"""The commands of ``python -m training``: they parse options, call the packages, and print.

This package may import every other part of ``training``.  Results are JSON or a table on standard
output; messages for people go to standard error.
"""
