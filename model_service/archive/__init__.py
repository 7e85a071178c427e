"""The archive: stores every record of a stream on S3, whether it is valid or not.

This package may import the core and `kinesis`.
"""

from .writer import process as process
from .writer import response as response
