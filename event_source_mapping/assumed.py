"""Rules that AWS neither documents nor was recorded following.

The mapping needs a rule in each of these places, so it assumes one.  A recorded fact that
contradicts a constant replaces it.  docs/event-source-mapping.md lists all of them.
"""

from __future__ import annotations

PAUSE_GROWTH_ASSUMED = 2.0
"""Each pause before a retry is this many times as long as the one before it.  The first pause is
recorded (0.22 s), and so is that eight invocations fit into an age limit of 60 seconds."""

LONGEST_PAUSE_ASSUMED = 60.0
"""Seconds.  Pauses do not grow beyond this length."""

PAUSE_AFTER_PROGRESS_ASSUMED = 0.0
"""Seconds before the records after a partial success are delivered.  Recorded with bisecting on;
assumed to hold with bisecting off."""

SPLIT_WITHOUT_RETRIES_ASSUMED = True
"""A batch is also split if MaximumRetryAttempts is 0.  AWS documents that a split spends no
retry."""

OTHER_OBJECTS_SUCCEED_ASSUMED = True
"""An object without `batchItemFailures`, such as ``{"statusCode": 200}``, is a full success.  Any
other value that is not recorded as a success, such as ``"fine"`` or ``[1]``, is a full failure."""

AGE_ENDS_A_WAIT_ASSUMED = True
"""A record leaves when its age limit is reached, also during a pause or while a batch is still
gathered.  If False, the age is only checked before an invocation."""

REST_AFTER_EXPIRY_IS_NEW_ASSUMED = True
"""The records behind an expired prefix form a new batch, with a new request id and all retries."""

NEW_SHARDS_START_AT_ASSUMED = "TRIM_HORIZON"
"""Where a shard is read from that appears while the mapping runs, whatever its starting position.
Otherwise LATEST would lose records after every split."""

LATEST_MISSES_SECONDS_ASSUMED = 0.0
"""AWS documents that LATEST can miss records while a mapping is created, but not how many.  This is
the time after the start of the mapping in which it misses them here."""

LANES_BY_ASSUMED = "md5"
"""With a parallelization factor, a shard has as many lanes, and the hash of a record's partition
key chooses its lane."""

READ_AHEAD_BATCHES_ASSUMED = 100
"""Batches per lane.  A shard is not read further if so many records are behind its checkpoint,
because one of its lanes is blocked."""

ENVELOPE_BYTES_ASSUMED = 600
"""Bytes of an event that a record takes besides its data and its partition key."""
