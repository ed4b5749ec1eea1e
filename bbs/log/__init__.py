"""The log: lager's lines, which Diego's operators and their tools read. spec: metrics-and-logs.md, section 3

A `Logger` is one session: a name, a number and the data that all its lines carry. It hands what passes the level to
its `LagerSink`, which runs it through a chain of structlog processors and makes one line of it. Lines are written beside
the event loop, by a `LineWriter`.

    with standard_streams(log="stdout") as streams:
        log = root_logger("bbs", LagerSink(streams.log, time_format=TimeFormat.RFC3339))
        upsert = log.session("upsert", {"domain": domain})
        upsert.info("added-domain", {"ttl": ttl_s})      # bbs.upsert.added-domain
        upsert.error("failed-to-upsert", error=error)

A line below the sink's level costs one comparison. Where collecting its data costs more than that and happens often, ask
``log.enabled(Level.DEBUG)`` first.
"""

from bbs.log.bounds import cut
from bbs.log.lager import (
    Data,
    Emit,
    LagerSink,
    LineStream,
    Logger,
    null_logger,
    root_logger,
)
from bbs.log.lines import LineStatistics, LineWriter, LineWriters
from bbs.log.redaction import PatternInvalid, Redaction, Truncation, data_processors
from bbs.log.rendering import LagerRenderer, Level, TimeFormat, go_json, json_text
from bbs.log.standard_streams import StandardStreams, standard_streams

__all__ = [
    "Data",
    "Emit",
    "LagerRenderer",
    "LagerSink",
    "Level",
    "LineStatistics",
    "LineStream",
    "LineWriter",
    "LineWriters",
    "Logger",
    "PatternInvalid",
    "Redaction",
    "StandardStreams",
    "TimeFormat",
    "Truncation",
    "cut",
    "data_processors",
    "go_json",
    "json_text",
    "null_logger",
    "root_logger",
    "standard_streams",
]
