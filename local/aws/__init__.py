"""Substitutes for AWS on one machine: Kinesis and S3, an event source mapping, and Lambda.

This package imports `model_service` and no other part of `local`.
"""
