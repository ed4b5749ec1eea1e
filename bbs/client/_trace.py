"""Trace ids: what ties the log lines of all components to one request (spec: client.md §4.3)."""

import secrets


def new_trace_id() -> str:
    """Two random 63-bit numbers as 32 lower-case hex digits."""
    return f"{secrets.randbits(63):016x}{secrets.randbits(63):016x}"
