"""What Postgres is asked of its log, as parts of statements. On a server in recovery there is no timeline that it writes to."""

from typing import Final

TIMELINE: Final = (
    "CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"
)
"""Hexadecimal, since it is the beginning of the name of the file that the log is written to now."""

END_OF_LOG: Final = """CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
  WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END"""
"""A position that nothing stands behind of all that has been committed by now, as far as anybody has been told so. With
``synchronous_commit = off`` that may not be written yet."""
