"""AWS on a laptop: an embedded Kinesis and S3, an event source mapping, a producer, the demo.

Nothing here is needed by the service, and the service never imports it.
"""
