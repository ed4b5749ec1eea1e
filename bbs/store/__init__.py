"""All state: rows in memory, written through to a database before anybody sees them.

Others use `store.Store` (its `load` fills it, its `run` writes), with its views `committed` (`tables.Tables`) and `head`
(`head.Head`); a backend to write through, `postgres.PostgresBackend` or `memory_backend.MemoryBackend`, and the errors that
`backend` names; and what opens a database: `dsn`, `crypto.Keyring`, `asyncio_loop`.
"""
