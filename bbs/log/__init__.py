"""The log: lager's lines, which Diego's operators and their tools read. spec: metrics-and-logs.md, section 3

A `Logger` is one session: a name, a number and the data that all its lines carry. It hands what passes the level to
its `LagerSink`, which runs it through a chain of structlog processors and writes one line.

    log = root_logger("bbs", LagerSink(stdout_stream(), time_format=TimeFormat.RFC3339))
    upsert = log.session("upsert", {"domain": domain})
    upsert.info("added-domain", {"ttl": ttl_s})      # bbs.upsert.added-domain
    upsert.error("failed-to-upsert", error=error)

A line below the sink's level costs one comparison. On a hot path whose data is dear to collect, ask
``log.enabled(Level.DEBUG)`` first.
"""

from bbs.log.bounds import cut
from bbs.log.lager import (
    ByteStream,
    Data,
    Emit,
    LagerSink,
    Logger,
    null_logger,
    root_logger,
    stdout_stream,
)
from bbs.log.redaction import PatternInvalid, Redaction, Truncation, data_processors
from bbs.log.rendering import LagerRenderer, Level, TimeFormat, go_json, json_text

__all__ = [
    "ByteStream",
    "Data",
    "Emit",
    "LagerRenderer",
    "LagerSink",
    "Level",
    "Logger",
    "PatternInvalid",
    "Redaction",
    "TimeFormat",
    "Truncation",
    "cut",
    "data_processors",
    "go_json",
    "json_text",
    "null_logger",
    "root_logger",
    "stdout_stream",
]
