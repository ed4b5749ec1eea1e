"""A new master makes the database its own, and memory what the database is (spec: config.md §4, §5)."""

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Final

import trio

from bbs.concurrency.causes import root_cause
from bbs.convergence.audit import Audit
from bbs.log import Logger
from bbs.metrics.metrics import Metrics
from bbs.process import garbage
from bbs.process.key_rotation import KeyRotation
from bbs.process.standby import Standby
from bbs.store.backend import BackendUnavailable
from bbs.store.store import Store

TAKEOVER_RETRY_S: Final = 120.0
"""How long a new master waits for a database that is away. The machine that was lost may have had the former master *and* the
primary of a Postgres cluster, which takes longer to fail over than Locket's lock does."""
RETRY_PAUSE_S: Final = 0.5


class Takeover:
    """``take_writer_lock`` sees to it that nobody else writes.

    `is_loaded` is set when memory has all rows; `may_listen` when there is something to say to clients, be it 503 during a
    migration; `is_migrated` when the tables are as this version has them, for others that use the database.
    """

    def __init__(
        self,
        store: Store,
        standby: Standby,
        audit: Audit,
        keys: KeyRotation,
        *,
        take_writer_lock: Callable[[], Awaitable[None]],
        metrics: Metrics,
        log: Logger,
        migration_log: Logger,
    ) -> None:
        self.may_listen = trio.Event()
        self.is_migrated = trio.Event()
        self.is_loaded = trio.Event()
        self._store = store
        self._standby = standby
        self._audit = audit
        self._keys = keys
        self._take_writer_lock = take_writer_lock
        self._metrics = metrics
        self._log = log
        self._migration_log = migration_log

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Started when all rows are loaded, or when they can't be since their key is unknown; then stays until cancelled.

        Raises:
          BackendUnavailable: the database was away for `TAKEOVER_RETRY_S`.
          StatementRejected, WriterLockLost, SchemaError, KeysDoNotFit: the database can't be had or read.
        """
        log = self._migration_log
        log.info("starting")
        began = perf_counter()
        try:
            await self._load_when_it_is_there()
            self._metrics.migrated(perf_counter() - began)
            log.info("finished-migrations")
            self.is_migrated.set()
            task_status.started()
            await trio.sleep_forever()
        except trio.Cancelled:
            log.info("migration-interrupt")
            raise
        except Exception as error:
            log.error("migration-failed", error=root_cause(error))
            raise
        finally:
            log.info("exited")

    def migrating(self, action: str, data: Mapping[str, object]) -> None:
        """A step of the migration begins or ends. It may take a while: requests are answered with 503 until it is done
        (spec: config.md §5).
        """
        self._migration_log.info(action, data)
        self.may_listen.set()

    async def _load_when_it_is_there(self) -> None:
        deadline = trio.current_time() + TAKEOVER_RETRY_S
        while True:
            try:
                await self._load()
                return
            except BackendUnavailable as trouble:
                # Each step can be made again, and what has been loaded need not be loaded again.
                if trio.current_time() + RETRY_PAUSE_S >= deadline:
                    raise
                self._migration_log.error("waiting-for-database", error=trouble)
            await trio.sleep(RETRY_PAUSE_S)

    async def _load(self) -> None:
        # Even a master that Locket has made takes it: the last one may still be writing, if its machine was paused. What was
        # read before may have changed since.
        await self._take_writer_lock()
        if not await self._keys.key_is_known():
            self.may_listen.set()
            return  # it is for the encryptor to say so; until then nothing is read, and nobody answered
        # Before the load, so that a row that somebody else writes while we read is looked at by the first audit.
        await self._audit.begin()
        began = perf_counter()
        with garbage.loading():
            rows = 0 if await self._standby.has_all() else await self._store.load()
        self._log.info("loaded", rows=rows, duration=int((perf_counter() - began) * 1e9))
        self.is_loaded.set()
        self.may_listen.set()
