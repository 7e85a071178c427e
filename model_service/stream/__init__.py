"""The stream scorer: a batch of Kinesis records to prediction events.

May import the core and ``kinesis``.
"""

from .processor import process as process
from .processor import response as response
