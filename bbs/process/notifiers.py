"""Members that only report, and what they say of their start and end: upstream's words (spec: config.md §4, §6)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from bbs.concurrency.members import Member, Ready, all_started, as_member
from bbs.log import Data, Logger
from bbs.metrics.metrics import DATABASE_S, Metrics, Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a member says, each at info; '' says nothing."""

    begins: str = "starting"
    is_ready: str = "started"
    ends: str = "finished"


READY_ONLY: Final = Words(begins="")


def told(
    run: Callable[[trio.Event, Ready], Awaitable[None]],
    log: Logger,
    words: Words = READY_ONLY,
    data: Data | None = None,
) -> Callable[[trio.Event, Ready], Awaitable[None]]:
    """A member's ``run`` with its words around it; ``data`` goes with the first of them."""

    async def run_told(stop: trio.Event, ready: Ready) -> None:
        def is_ready() -> None:
            if words.is_ready:
                log.info(words.is_ready)
            ready()

        if words.begins:
            log.info(words.begins, data)
        try:
            await run(stop, is_ready)
        finally:
            if words.ends:
                log.info(words.ends)

    return run_told


def file_descriptors(metrics: Metrics, log: Logger) -> Member:
    run = as_member(partial(all_started, metrics.run_file_descriptors))
    return Member(
        "periodic-filedescriptor-metrics", told(run, log.session("file-descriptor-notifier"), Words())
    )


def lock_held(metrics: Metrics, log: Logger) -> Member:
    run = as_member(partial(all_started, metrics.run_lock_held))
    return Member("lock-held-metrics", told(run, log.session("lock-held-metrics-notifier")))


def set_lock_held(metrics: Metrics, log: Logger) -> Member:
    async def run(stop: trio.Event, ready: Ready) -> None:
        metrics.is_master = True
        ready()
        await stop.wait()

    words = Words(begins="", ends="exited")
    return Member("set-lock-held-metrics", told(run, log.session("set-lock-held-metron-notifier"), words))


def election(metrics: Metrics, log: Logger) -> Member:
    async def run(stop: trio.Event, ready: Ready) -> None:
        ready()
        metrics.elected()
        await stop.wait()

    return Member("bbs-election-metrics", told(run, log.session("metrics-notifier"), Words()))


def requests(metrics: Metrics, log: Logger) -> Member:
    session = log.session("periodic-count-metrics-notifier")
    run = as_member(partial(all_started, partial(metrics.run_requests, session)))
    return Member("periodic-metrics", told(run, session))


def lrps(metrics: Metrics, sources: Sources) -> Member:
    run = as_member(partial(all_started, partial(metrics.run_lrps, sources)))
    return Member("lrp-stat-metron-notifier", run)


def tasks(metrics: Metrics, sources: Sources) -> Member:
    run = as_member(partial(all_started, partial(metrics.run_tasks, sources)))
    return Member("task-stat-metron-notifier", run)


def database(metrics: Metrics, sources: Sources, log: Logger) -> Member:
    session = log.session("db-stat-metron-notifier")
    run = as_member(partial(all_started, partial(metrics.run_database, sources, session)))
    words = Words(is_ready="", ends="completed")
    interval = {"interval": int(DATABASE_S * 1e9)}
    return Member("db-stat-metron-notifier", told(run, session, words, interval))
