"""Reads rides from files, and writes scored rides to Parquet files.

This package may import only the core.  Any code that works on files of rides may import this
package.
"""
