"""A server with upstream's configuration, from its file to its exit code. spec: config.md §4-6

In phase A everything is checked and connected that can be, in upstream's order. Nobody is answered yet, not even the health
port, and a signal ends the process at once by its default action: there is nothing to finish, and a handler of ours would
only have to wait out the step under way, ten seconds for a Locket that is away. In phase B the members run, and signals stop
them in order.

The order of checks matters: an operator who has made two mistakes is told upstream's first one, with its exit code. So
checks are made in portions (`check`), between the steps that open connections.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal, NoReturn, Protocol, TypeAlias

import trio

from bbs.commands.last_words import dump_stacks_on_quit, exited_with_failure, unraisable_errors_told
from bbs.concurrency.causes import first_of, root_cause
from bbs.concurrency.members import Member, failures, run_members, trace
from bbs.config import checks
from bbs.config.errors import ConfigInvalid
from bbs.config.upstream import UpstreamConfig, load
from bbs.log import (
    LagerSink,
    Level,
    Logger,
    StandardStreams,
    TimeFormat,
    data_processors,
    root_logger,
    standard_streams,
)
from bbs.models.errors import Failure
from bbs.ports.listen import ListenFailed
from bbs.process.key_rotation import KeyLabelUnknown
from bbs.store.backend import BackendUnavailable, StatementRejected, WriterLockLost
from bbs.store.health_check import HealthCheckFailed
from bbs.store.key_check import KeysDoNotFit
from bbs.store.schema import SchemaError
from bbs.sync.locket.lock import LockLost
from bbs.tls.reloading import Certificates

PHASE_A_WRITE_S: Final = 1.0
"""How long a step of phase A waits until its line is out. A line that only waits to be written would be lost when a signal
ends the process. Readers that are there take microseconds; without any the start is late by this much, once.
"""

EXPECTED: Final = (
    BackendUnavailable,
    StatementRejected,
    Failure,
    HealthCheckFailed,
    KeyLabelUnknown,
    KeysDoNotFit,
    ListenFailed,
    LockLost,
    SchemaError,
    WriterLockLost,
)
"""Failures of members whose text says it all. Any other is a bug, and the log needs its traceback as well."""


class StartFailed(Exception):
    """The server does not start, and has said why."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


class Server(Protocol):
    """What phase B runs."""

    def members(self) -> Sequence[Member]: ...


class Assembled:
    """A server with everything around it that phase A has opened. ``stop_signal`` is the last one that came, for the log."""

    def __init__(self) -> None:
        self.stop_signal: int = signal.SIGINT
        self.server: Server
        self.certificates: Certificates


Assemble: TypeAlias = Callable[
    [UpstreamConfig, LagerSink, Logger, StandardStreams, trio.CancelScope],
    AbstractAsyncContextManager[Assembled],
]
"""Everything that comes before the first member, step by step. The scope is cancelled to stop the server.

Raises:
  StartFailed: a step failed, and its reason is in the log.
"""


def run(path: str, assemble: Assemble, *, name: str, log: Literal["stdout", "stderr"] = "stdout") -> int:
    """Be a server with the configuration at ``path``; returns the exit code. ``name`` is what ``ps`` calls the process, and
    ``log`` is where it logs.
    """
    _name_process(name)
    dump_stacks_on_quit()
    with standard_streams(log=log) as streams:
        return _run_beside(streams, path, assemble)


def _run_beside(streams: StandardStreams, path: str, assemble: Assemble) -> int:
    try:
        config = load(path)
        for problem in checks.problems(config):
            if problem.step > checks.LOGGER:
                break
            raise ConfigInvalid(f"{problem.error} ({problem.key}: {problem.advice})")
    except ConfigInvalid as invalid:
        print(f"panic: {invalid}", file=sys.stderr, flush=True)
        return checks.EXIT_FATAL
    # There was no log before: its level and format are in the file. So what was wrong until here went to standard error.
    streams.log.write_through(PHASE_A_WRITE_S)
    sink = LagerSink(
        streams.log,
        min_level=Level.from_config(config.log_level),
        time_format=TimeFormat.from_config(config.time_format),
        processors=data_processors(
            max_data_string_length=config.max_data_string_length,
            redact_secrets=config.redact_secrets,
            redact_patterns=config.redact_patterns,
        ),
    )
    streams.log.notice = partial(sink.dropped_notice, config.session_name)
    log = root_logger(config.session_name, sink)
    log.info("starting")
    with unraisable_errors_told(log):
        try:
            return trio.run(_run, config, assemble, sink, log, streams)
        except BaseException as failure:
            # The end of the process, whatever it was: nothing is left that a failure could leave half done.
            start_failed = first_of(StartFailed, failure)
            if start_failed is not None:
                return start_failed.exit_code
            exited_with_failure(log, str(root_cause(failure)), bug=failure)
            return checks.EXIT_FAILED


async def _run(
    config: UpstreamConfig, assemble: Assemble, sink: LagerSink, log: Logger, streams: StandardStreams
) -> int:
    until_stopped = trio.CancelScope()
    async with (
        assemble(config, sink, log, streams, until_stopped) as assembled,
        trio.open_nursery() as nursery,
    ):
        # Phase B begins. The handler comes before the first member, so that no signal finds a member that nobody stops.
        await nursery.start(_obey_signals, assembled, until_stopped)
        streams.log.write_behind()
        exits = await run_members(
            [Member("certificates", assembled.certificates.watch), *assembled.server.members()],
            until_stopped=until_stopped,
            on_started=lambda: log.info("started"),
        )
        nursery.cancel_scope.cancel()
    went_wrong = failures(exits)
    if went_wrong:
        bugs = [failure for failure in went_wrong if not isinstance(root_cause(failure), EXPECTED)]
        exited_with_failure(log, trace(exits), bug=bugs[0] if bugs else None)
        return checks.EXIT_FAILED
    log.info("exited")
    return 0


def check(config: UpstreamConfig, log: Logger, *, after: int, through: int) -> None:
    """Make the checks of the steps behind ``after``, up to ``through``, and tell the first problem as upstream does.

    Raises:
      StartFailed: there is one.
    """
    # The checks of earlier steps are made again on the way, which does nothing but read files, and not told of again.
    for problem in checks.problems(config):
        if problem.step > through:
            return
        if problem.step <= after:
            continue
        if not problem.action:
            print(f"panic: {problem.error}", file=sys.stderr, flush=True)
        elif problem.exit_code == checks.EXIT_FAILED:
            log.error(problem.action, dict(problem.data), error=problem.error)
        else:
            if problem.action == "failed-to-create-locket-client":
                log.error("failed-to-open-tls-config", error=problem.error)
            fail_start(log, problem.action, problem.error, dict(problem.data))
        raise StartFailed(problem.exit_code)


def fail_start(log: Logger, action: str, error: str, data: dict[str, object] | None = None) -> NoReturn:
    """Upstream's fatal end: a line in the log, and on standard error what Go's panic begins with, which scripts look for.

    Raises:
      StartFailed: always.
    """
    log.fatal(action, data, error=error or None)
    print(f"panic: {error or action}", file=sys.stderr, flush=True)
    raise StartFailed(checks.EXIT_FATAL)


async def _obey_signals(
    assembled: Assembled,
    until_stopped: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """SIGINT and SIGTERM stop the server, the first of them for good; SIGHUP has certificates read again."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                assembled.certificates.reload()
            else:
                assembled.stop_signal = number
                until_stopped.cancel()


def _name_process(name: str) -> None:
    """What ``ps`` and ``lsof`` call this process; upstream's scripts look for it (spec: config.md §5)."""
    with suppress(OSError):  # not Linux
        Path("/proc/self/comm").write_text(name)
