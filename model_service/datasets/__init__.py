"""Rides in files: reading rows as rides, and writing rides as Parquet.

It may import only the core; any entry point or job that works on files may import it.
"""
