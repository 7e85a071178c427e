"""Tools for a system that runs: replay what was rejected, smoke-test what was deployed.

They talk to AWS with the caller's own credentials, region and endpoints, and nothing imports them.
"""
