"""Which key the database's values are sealed with, and what is done when another one is active (spec: storage.md §4)."""

from time import perf_counter

import trio

from bbs.log import Logger
from bbs.metrics.metrics import Metrics
from bbs.process.reencryption import ReencryptionFailed, seal_anew
from bbs.store.crypto import Keyring
from bbs.store.database import WriterBackend
from bbs.store.store import Store


class KeyLabelUnknown(Exception):
    """The database's values are sealed with a key that we are not given. The text is upstream's."""

    def __init__(self, label: str) -> None:
        super().__init__(f"Existing encryption key version ({label}) is not among the known keys")
        self.label = label


class KeyRotation:
    """Has all values sealed with the active key of ``keyring``.

    The database keeps the label of the key that all its values have. It is written anew only when the last value is sealed
    with another one, so a process that ends before begins again at its next start, and needs the old key until then.
    """

    def __init__(self, store: Store, backend: WriterBackend, keyring: Keyring, *, metrics: Metrics) -> None:
        self._store = store
        self._backend = backend
        self._keyring = keyring
        self._metrics = metrics
        self._stored_label = ""

    async def key_is_known(self) -> bool:
        """Whether the database's values, if it has any, are sealed with one of our keys. Asks the database.

        Raises:
          BackendUnavailable, StatementRejected, WriterLockLost: it did not say.
        """
        self._stored_label = await self._backend.stored_key_label()
        return self._is_known()

    async def run(self, log: Logger, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Seal all values anew if the active key is another one than theirs. Call `key_is_known` before.

        Started at once, since requests need not wait for it. A stop waits until it is through.

        Raises:
          KeyLabelUnknown: the values' key is not among ours, as `key_is_known` has said.
          BackendUnavailable, StatementRejected, WriterLockLost: in a group; the label could not be written.
        """
        stored, active = self._stored_label, self._keyring.active_label
        if not self._is_known():
            unknown = KeyLabelUnknown(stored)
            log.error("unknown-encryption-key-lable", error=unknown)  # sic: operators search for it
            raise unknown
        async with trio.open_nursery() as nursery:
            if stored != active:
                labels = {"desired-key-label": active, "existing-key-label": stored}
                log.info("encryption-started", labels)
                nursery.start_soon(self._seal_anew, labels, log)
            with trio.CancelScope() as until_stopped:
                task_status.started(until_stopped)
                await trio.sleep_forever()

    def _is_known(self) -> bool:
        return not self._stored_label or self._stored_label in self._keyring.labels

    async def _seal_anew(self, labels: dict[str, str], log: Logger) -> None:
        began = perf_counter()
        try:
            await seal_anew(self._store)
        except ReencryptionFailed as error:
            # The server goes on: all values can be read, with one key or the other. The label stays, so that the next start
            # does the rest.
            log.error("encryption-failed", labels, error=error)
        else:
            await self._backend.record_key_label()
        self._metrics.reencrypted(perf_counter() - began)
        log.info("encryption-finished", {**labels, "total_time": int((perf_counter() - began) * 1e9)})
