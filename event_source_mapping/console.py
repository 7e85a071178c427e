"""Shows a run on the console: a line for each step, and on a terminal a table of the shards."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .decisions import Discard, Expired, Invoke, Progressed, Retry, Split
from .decisions import Succeeded as Processed
from .threads import REFUSED
from .timeline import EXPLANATIONS, Moment, Narrator, Note

COLUMNS = ("records processed", "batches", "retries", "splits", "messages", "records lost")
PROCESSED, BATCHES, RETRIES, SPLITS, MESSAGES, LOST = COLUMNS


class Display:
    """Shows what happens in a run, as it happens.  It is a class because it has counts."""

    def __init__(self, console: Console, started_at: float, *, has_destination: bool) -> None:
        self._console = console
        self._narrator = Narrator(started_at, has_destination)
        self._has_destination = has_destination
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._seen: set[type] = set()
        self._live: Live | None = None
        self._lock = Lock()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Print the lines of the run while the block runs, and a summary after the last line."""
        self._print(Text(self._narrator.head(), style="bold"))
        if self._console.is_terminal:
            with Live(self._table(), console=self._console) as self._live:
                yield
        else:
            yield
        for kind, text in EXPLANATIONS.items():
            if kind in self._seen:
                self._print(Text(text))
        if not self._console.is_terminal:
            self._print(Text("\n" + self.summary()))

    def show(self, moment: Moment) -> None:
        """Print the line for *moment* and update the table; any thread may call this."""
        with self._lock:
            self._seen.add(type(moment.what))
            self._count(moment.what)
            line = self._narrator.line(moment)
            if line is None:
                return
            self._print(Text(line, style=_style(line)))
            if self._live is not None:
                self._live.update(self._table())

    def summary(self) -> str:
        """Return the counts of all shards in one line."""
        total = sum(self._counts.values(), Counter[str]())
        return ", ".join(f"{name}: {total[name]:,}" for name in COLUMNS)

    def _count(self, what: object) -> None:
        match what:
            case Invoke(shard_id=shard_id, attempt=1):
                self._counts[shard_id][BATCHES] += 1
            case Processed(shard_id=shard_id, records=records):
                self._counts[shard_id][PROCESSED] += len(records)
            case Progressed(shard_id=shard_id, done=done):
                self._counts[shard_id][PROCESSED] += len(done)
            case Retry(shard_id=shard_id):
                self._counts[shard_id][RETRIES] += 1
            case Split(shard_id=shard_id):
                self._counts[shard_id][SPLITS] += 1
            case Discard(shard_id=shard_id, records=records):
                lost = {LOST: len(records)}
                self._counts[shard_id].update({MESSAGES: 1} if self._has_destination else lost)
            case Expired(shard_id=shard_id, records=records):
                self._counts[shard_id][LOST] += len(records)
            case Note(shard_id=shard_id, records=records, text=text) if text == REFUSED:
                self._counts[shard_id].update({MESSAGES: -1, LOST: len(records)})

    def _table(self) -> Table:
        table = Table(header_style="dim")
        table.add_column("shard")
        for name in COLUMNS:
            table.add_column(name, justify="right")
        for shard_id, counts in sorted(self._counts.items()):
            table.add_row(shard_id, *(f"{counts[name]:,}" for name in COLUMNS))
        return table

    def _print(self, text: Text) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def _style(line: str) -> str:
    """Return the style in which to print *line*, a line of the timeline.

    >>> _style("1-3  failed: no"), _style("1-3  processed")
    ('red', 'green')
    """
    for word, style in (("LOST", "bold red"), ("failed:", "red"), ("split", "yellow"),
                        ("processed", "green"), ("checkpoint", "dim")):  # fmt: skip
        if word in line:
            return style
    return ""
