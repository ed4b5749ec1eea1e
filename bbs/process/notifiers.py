"""Members that only report, and what they say of their start and end: upstream's words (spec: config.md §4, §6).

Some say ``finished``, others ``exited`` or ``completed``, and some do not say that they begin (sic): scripts that watch a
deployment look for these lines.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from bbs.concurrency.members import Member, Run
from bbs.log import Data, Logger
from bbs.metrics.metrics import DATABASE_S, Metrics, Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a member says, each at info; '' says nothing."""

    begins: str = "starting"
    is_ready: str = "started"
    ends: str = "finished"


READY_ONLY: Final = Words(begins="")


@dataclass(frozen=True, slots=True)
class _ToldWhenReady:
    """A task status that passes on what it is told, once it has been logged."""

    task_status: trio.TaskStatus[object]
    log: Logger
    word: str

    def started(self, value: object = None) -> None:
        if self.word:
            self.log.info(self.word)
        self.task_status.started(value)


def told(run: Run, log: Logger, words: Words = READY_ONLY, data: Data | None = None) -> Run:
    """A member's ``run`` with its words around it; ``data`` goes with the first of them. The last one is said however it
    ends.
    """

    async def run_told(*, task_status: trio.TaskStatus[object]) -> None:
        if words.begins:
            log.info(words.begins, data)
        try:
            await run(task_status=_ToldWhenReady(task_status, log, words.is_ready))
        finally:
            if words.ends:
                log.info(words.ends)

    return run_told


def file_descriptors(metrics: Metrics, log: Logger) -> Member:
    session = log.session("file-descriptor-notifier")
    return Member("periodic-filedescriptor-metrics", told(metrics.run_file_descriptors, session, Words()))


def lock_held(metrics: Metrics, log: Logger) -> Member:
    return Member("lock-held-metrics", told(metrics.run_lock_held, log.session("lock-held-metrics-notifier")))


def set_lock_held(metrics: Metrics, log: Logger) -> Member:
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        metrics.is_master = True
        task_status.started()
        await trio.sleep_forever()

    words = Words(begins="", ends="exited")
    return Member("set-lock-held-metrics", told(run, log.session("set-lock-held-metron-notifier"), words))


def election(metrics: Metrics, log: Logger) -> Member:
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        metrics.elected()
        await trio.sleep_forever()

    return Member("bbs-election-metrics", told(run, log.session("metrics-notifier"), Words()))


def requests(metrics: Metrics, log: Logger) -> Member:
    session = log.session("periodic-count-metrics-notifier")
    return Member("periodic-metrics", told(partial(metrics.run_requests, session), session))


def lrps(metrics: Metrics, sources: Sources) -> Member:
    return Member("lrp-stat-metron-notifier", partial(metrics.run_lrps, sources))


def tasks(metrics: Metrics, sources: Sources) -> Member:
    return Member("task-stat-metron-notifier", partial(metrics.run_tasks, sources))


def database(metrics: Metrics, sources: Sources, log: Logger) -> Member:
    session = log.session("db-stat-metron-notifier")
    run = partial(metrics.run_database, sources, session)
    words = Words(is_ready="", ends="completed")
    interval = {"interval": int(DATABASE_S * 1e9)}
    return Member("db-stat-metron-notifier", told(run, session, words, interval))
