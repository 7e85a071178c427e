"""Commands for contributors and CI, and the environments of SAM and checkov.

They may import every other package, and only tests import them.
"""
