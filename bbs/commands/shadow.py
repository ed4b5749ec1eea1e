"""``bbs shadow``: a follower that compares what it tells with what the master tells, and reports.

It is a whole follower, its port included, so that readers can be pointed at it. The log goes to standard error, and the report to
standard output, or into a file.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from bbs.client import ClientConfig, InvalidClientConfig, tcp_connector
from bbs.commands import configured
from bbs.commands.configured import Assembled, fail_start
from bbs.commands.follow import FollowSettings, assembled_follower
from bbs.concurrency.members import Member
from bbs.config.upstream import UpstreamConfig
from bbs.log import LagerSink, Logger, StandardStreams
from bbs.process.follower import Follower
from bbs.shadow.events import Side
from bbs.shadow.report import EXIT_DIFFERENT, EXIT_NOT_COMPARED, Report
from bbs.shadow.shadow import Shadow, ShadowSettings
from bbs.shadow.sides import OneSide

KEEP_ALIVE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowCommand:
    """``master_url`` is compared with; without files, those are shown that Locket is shown, and the configuration's ``ca_file``
    is trusted. Without a ``report`` it goes to standard output.
    """

    master_url: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    report: Path | None = None
    as_json: bool = False
    settings: ShadowSettings = field(default_factory=ShadowSettings)
    follow: FollowSettings = field(default_factory=FollowSettings)


def shadow(path: str, command: ShadowCommand) -> int:
    """Be a shadow with the configuration at ``path``; returns the exit code: 0 nothing differs, 1 something does, 2 it could not
    be compared.
    """
    started: list[Shadow] = []
    failed = configured.run(path, partial(_assembled, command, started), name="bbs-shadow", log="stderr")
    if not started:
        return EXIT_NOT_COMPARED
    report = started[0].report()
    _write(report.as_json() if command.as_json else report.as_markdown(), command.report)
    return _exit_code(report, is_failure=bool(failed))


def _exit_code(report: Report, *, is_failure: bool) -> int:
    if is_failure and report.exit_code != EXIT_DIFFERENT:
        return EXIT_NOT_COMPARED
    return report.exit_code


def _write(text: str, file: Path | None) -> None:
    if file is not None:
        try:
            file.write_text(text)
            return
        except OSError as error:
            print(f"bbs shadow: the report can't be written to {file}: {error.strerror}", file=sys.stderr)
    print(text, end="" if text.endswith("\n") else "\n", flush=True)


class _Beside:
    """A follower, and the shadow in the same process."""

    def __init__(self, follower: Follower, shadow: Shadow) -> None:
        self._follower = follower
        self._shadow = shadow

    def members(self) -> Sequence[Member]:
        return [*self._follower.members(), Member("shadow", self._shadow.run)]


class _Followed:
    """As `bbs.shadow.sides.Followed`."""

    def __init__(self, follower: Follower) -> None:
        self._following = follower.following
        self.has_loaded = follower.following.has_loaded
        self.connect = follower.connect

    @property
    def as_of(self) -> float:
        return self._following.as_of

    @property
    def streams(self) -> int:
        return self._following.statistics().streams

    @property
    def is_streaming(self) -> bool:
        return self._following.statistics().is_streaming

    @property
    def unreadable(self) -> int:
        return self._following.statistics().unreadable


@asynccontextmanager
async def _assembled(
    command: ShadowCommand,
    started: list[Shadow],
    config: UpstreamConfig,
    sink: LagerSink,
    log: Logger,
    streams: StandardStreams,
    until_stopped: trio.CancelScope,
) -> AsyncIterator[Assembled]:
    """As `bbs.commands.configured.Assemble`. The shadow is put into ``started``."""
    async with assembled_follower(command.follow, config, sink, log, streams, until_stopped) as assembled:
        follower = assembled.server
        assert isinstance(follower, Follower)
        followed = _Followed(follower)
        timeout_s = command.settings.list_timeout_s
        compared = Shadow(
            followed,
            master=OneSide(
                Side.MASTER,
                _master_config(command, config, log),
                tcp_connector(keep_alive_s=KEEP_ALIVE_S),
            ),
            follower=OneSide(
                Side.FOLLOWER,
                ClientConfig(url="http://follower", attempts=1, request_timeout_s=timeout_s),
                followed.connect,
            ),
            settings=command.settings,
            log=log,
        )
        started.append(compared)
        assembled.server = _Beside(follower, compared)
        yield assembled


def _master_config(command: ShadowCommand, config: UpstreamConfig, log: Logger) -> ClientConfig:
    """How the master is reached.

    Raises:
      StartFailed: there is no such URL, or a file is unfit.
    """
    is_tls = urlsplit(command.master_url).scheme == "https"
    master = ClientConfig(
        url=command.master_url,
        ca_file=command.ca_file or (config.ca_file if is_tls else None),
        cert_file=command.cert_file or (config.locket_client_cert_file if is_tls else None),
        key_file=command.key_file or (config.locket_client_key_file if is_tls else None),
        attempts=1,
        request_timeout_s=command.settings.list_timeout_s,
    )
    try:
        if master.parsed_url().username is not None:
            fail_start(log, "cannot-compare", "--compare: a BBS knows no user names; leave it out of the URL")
        master.ssl_context()
    except InvalidClientConfig as error:
        fail_start(log, "cannot-compare", f"--compare: {error}")
    return master
