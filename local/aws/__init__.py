"""Substitutes for AWS on one machine: Kinesis and S3, and Lambda.

This package imports no other part of `local`.
"""
