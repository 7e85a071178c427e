"""The fault suite: the real handler under faults of the AWS protocol, and an independent audit.

``proxy`` stands between the handler's boto3 clients and moto and injects the faults, ``worker`` and
``run`` deliver the rides, and ``audit`` compares what came out with what was sent.
"""
