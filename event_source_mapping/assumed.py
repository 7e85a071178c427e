"""Rules of the mapping that are assumed: AWS does not document them, and no recording shows them.

The mapping cannot work without these rules.  If a recording contradicts a constant here, change the
constant.  docs/event-source-mapping.md lists all assumed rules.
"""

from __future__ import annotations

PAUSE_GROWTH_ASSUMED = 2.0
"""The factor by which each pause before a retry is longer than the previous pause.  Two facts were
recorded: the first pause (0.22 s), and eight invocations within an age limit of 60 seconds."""

LONGEST_PAUSE_ASSUMED = 60.0
"""The longest pause, in seconds."""

PAUSE_AFTER_PROGRESS_ASSUMED = 0.0
"""The seconds between a partial success and the delivery of the remaining records.  Recorded with
bisecting on; assumed to be the same with bisecting off."""

SPLIT_WITHOUT_RETRIES_ASSUMED = True
"""A batch is also split if MaximumRetryAttempts is 0.  AWS documents that a split spends no
retry."""

OTHER_OBJECTS_SUCCEED_ASSUMED = True
"""An object without `batchItemFailures`, such as ``{"statusCode": 200}``, is a full success.  Any
other value that is not recorded as a success, such as ``"fine"`` or ``[1]``, is a full failure."""

AGE_ENDS_A_WAIT_ASSUMED = True
"""Whether a record is discarded as soon as it reaches its age limit, even during a pause or while a
batch is still gathered.  If False, the age is checked only before an invocation."""

REST_AFTER_EXPIRY_IS_NEW_ASSUMED = True
"""If the first records of a batch expire, the remaining records are a new batch, with a new request
id and all retries."""

NEW_SHARDS_START_AT_ASSUMED = "TRIM_HORIZON"
"""The position from which a shard is read that appears while the mapping runs.  It does not depend
on the starting position; otherwise LATEST would lose records after every split."""

LATEST_MISSES_SECONDS_ASSUMED = 0.0
"""The seconds after the start of the mapping in which LATEST misses records.  AWS documents that
LATEST can miss records while a mapping is created, but not for how long."""

LANES_BY_ASSUMED = "md5"
"""A shard has as many lanes as the parallelization factor.  The hash of a record's partition key
decides its lane."""

READ_AHEAD_BATCHES_ASSUMED = 100
"""The number of batches per lane that may be read beyond the checkpoint of a shard.  If a blocked
lane holds up the checkpoint, the shard is read no further than this."""

ENVELOPE_BYTES_ASSUMED = 600
"""The number of bytes that a record takes in an event, in addition to its data and its partition
key."""
