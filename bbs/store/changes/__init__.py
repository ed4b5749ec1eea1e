"""Postgres' stream of logical changes as Python values, on Trio: what was committed to our four tables, whoever did it.

`follow_changes` is the way in, and `decode_changes` the way on to rows in memory. Behind it, from the wire up: `session` (libpq on Trio), `replication` (the streaming protocol),
`pgoutput` (what the plugin sends, decoded), `transactions` (put together, as our codecs' values), `publication` (what the
database must have).
"""

from bbs.store.changes.errors import CannotFollow, StreamLost
from bbs.store.changes.pgoutput import UNCHANGED
from bbs.store.changes.rows import Decoded, decode_changes
from bbs.store.changes.stream import ChangeStream, Progress, Start, follow_changes
from bbs.store.changes.transactions import Change, Clear, Delete, Put, Transaction

__all__ = [
    "UNCHANGED",
    "CannotFollow",
    "Change",
    "ChangeStream",
    "Clear",
    "Decoded",
    "Delete",
    "Progress",
    "Put",
    "Start",
    "StreamLost",
    "Transaction",
    "decode_changes",
    "follow_changes",
]
