"""What is desired, by whom the fleet's users are meant; and whether their domain is fresh."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NoReturn

import trio

from bbs.client import InternalBBSClient, TransportError
from bbs.models import pb
from bbs.models.errors import BBSError, ResourceExists, ResourceNotFound
from bbs.testing._cell import CONFIG, NOT_CREATED, Life, Tell
from bbs.testing._network import Network
from tests.records import desired_message
from tests.simulation import ledger

DOMAIN: Final = "apps"
FRESH_S: Final = 120
REFRESH_S: Final = 30.0
CREATION_S: Final = (0.5, 4.0)
PERSISTENCE_S: Final = 3600.0
"""How long somebody goes on trying before the simulation calls it a failure."""


@dataclass(kw_only=True)
class App:
    """``lifetimes_s`` are those of its next containers, which crash then; those after them run for ever.

    ``starts_s`` is when its containers began to run.
    """

    process_guid: str
    instances: int
    lifetimes_s: list[float] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)


class CloudController:
    """Also a `bbs.testing._cell.Behaviour`: it knows the apps."""

    answers = takes = True
    """Its cells do."""

    def __init__(
        self, network: Network, random: Random, tell: Tell, *, creation_s: tuple[float, float] = CREATION_S
    ) -> None:
        self.apps: dict[str, App] = {}
        self.failing_creations = 0.0
        self.refreshes = True
        self.ledger = ledger.Ledger()
        self.turns: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        """For those who might change one app at once, which would leave nobody knowing what it is to be."""
        self._network = network
        self._random = random
        self._creation_s = creation_s
        self._tell = tell
        self._bbs: InternalBBSClient | None = None
        self.on_acknowledged: Callable[[], None] = lambda: None

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Keep the domain fresh, as long as it ``refreshes``."""
        connector = self._network.connector("cloud-controller")
        async with InternalBBSClient.connect(CONFIG, connector=connector) as self._bbs:
            task_status.started()
            while True:
                if self.refreshes:
                    await self._insist("upsert-domain", lambda: self.bbs.upsert_domain(DOMAIN, ttl_s=FRESH_S))
                await trio.sleep(REFRESH_S)

    @property
    def bbs(self) -> InternalBBSClient:
        assert self._bbs is not None
        return self._bbs

    def instances(self) -> Iterator[tuple[str, int]]:
        """All that should run."""
        for app in self.apps.values():
            for index in range(app.instances):
                yield app.process_guid, index

    async def desire(self, process_guid: str, instances: int, **fields: Any) -> App:
        app = self.apps[process_guid] = App(process_guid=process_guid, instances=instances)
        message = desired_message(process_guid, **fields)
        message.domain, message.instances = DOMAIN, instances
        await self._insist(
            "desire",
            lambda: self.bbs.desire_lrp(message),
            done=ResourceExists,
            about=(process_guid, ledger.desired(instances, message.annotation)),
        )
        return app

    async def scale(self, process_guid: str, instances: int) -> None:
        self.apps[process_guid].instances = instances
        await self.update(process_guid, pb.DesiredLRPUpdate(instances=instances))

    async def update(self, process_guid: str, update: pb.DesiredLRPUpdate) -> None:
        await self._insist(
            "update",
            lambda: self.bbs.update_desired_lrp(process_guid, update),
            about=(process_guid, ledger.updated(update)),
        )

    async def remove(self, process_guid: str) -> None:
        del self.apps[process_guid]
        await self._insist(
            "remove-desired",
            lambda: self.bbs.remove_desired_lrp(process_guid),
            done=ResourceNotFound,
            about=(process_guid, ledger.removed),
        )

    def life(self, process_guid: str, index: int) -> Life:
        app = self.apps.get(process_guid)
        if app is None:
            return Life()
        app.starts_s.append(trio.current_time())
        return Life(app.lifetimes_s.pop(0)) if app.lifetimes_s else Life()

    def creation_s(self, random: Random) -> float:
        return random.uniform(*self._creation_s)

    def creation_failure(self, process_guid: str) -> str:
        return NOT_CREATED if self._random.random() < self.failing_creations else ""

    async def _insist(
        self,
        what: str,
        ask: Callable[[], Awaitable[None]],
        *,
        done: type[BBSError] | None = None,
        about: tuple[str, ledger.Change] | None = None,
    ) -> None:
        """Ask until it has worked: ``done`` tells that an earlier attempt has, whatever its answer was."""
        if about is not None:
            self.ledger.asked(*about)
        with trio.fail_after(PERSISTENCE_S):
            while True:
                try:
                    await ask()
                except (BBSError, TransportError) as error:
                    self._tell(f"{what}: {error}")
                    if done is None or not isinstance(error, done):
                        await trio.sleep(1)
                        continue
                else:
                    self._tell(f"{what}: ok")
                break
        if about is not None:
            self.ledger.acknowledged(*about)
            self.on_acknowledged()
