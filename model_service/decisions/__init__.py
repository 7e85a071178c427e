"""Decisions: joins the predictions of a ride, decides once, and keeps the decision.

This package may import the core and `kinesis`.

A ride's predictions come on one stream, in any order, more than once, and from models that read
their own stream independently.  The join is designed so that a ride is usually one write:

1. A batch is joined by ride id first.  If all expected models are there, the ride is decided, and
   one conditional PutItem stores the decision: one write unit for an item of less than 1 KB.
2. Only a ride that is incomplete in its batch *waits* in the table: a write for the item and one
   for its entry in the index on the deadline.  The batch that completes it finds it by its own
   conditional PutItem, which is refused and returns the item, and replaces it by the decision: a
   refused write, a write, and the removal of the index entry.  So such a ride takes five write
   units instead of one, and a service with at most one such ride in twenty stays below 1.2.
3. A decision is made by being stored: the item of a ride is replaced only if nobody else replaced
   it, and a decision is never replaced.  It is published afterwards, always as the stored bytes.
   If the function dies between the two, the records come again, and the same bytes are published.
4. A sweep decides the rides whose deadline has passed.  It reads the index alone, which has only
   rides with a deadline.  A decision of the sweep keeps its deadline until it is published, because
   no record would come again for it; then the deadline is removed.
"""

from .processor import process as process
from .processor import response as response
