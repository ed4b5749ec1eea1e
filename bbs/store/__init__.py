"""All state: rows in memory, written through to a database before anybody sees them.

Others use `Store` (open it with `Store.load`), the `Backend` it writes through, and the errors below.
"""
