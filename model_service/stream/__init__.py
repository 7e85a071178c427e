"""The stream scorer: turns a batch of Kinesis records into prediction events.

This package may import the core and `kinesis`.
"""

from .processor import process as process
from .processor import response as response
