"""Who wants tasks done: desires and cancels them, and is called back when they are over."""

import json
from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from bbs.client import InternalBBSClient, TransportError
from bbs.models.errors import BBSError, ResourceExists
from bbs.peers.http import NoResponse
from bbs.testing._cell import CONFIG, TaskRun, Tell
from bbs.testing._network import Network
from tests.records import task_definition

DOMAIN: Final = "tasks"
URL: Final = "https://client/done"


@dataclass(frozen=True, slots=True)
class End:
    """How a task ended, as somebody says."""

    failed: bool
    result: str


class TaskClient:
    """Also a `bbs.testing._cell.TaskBehaviour`, and the `HTTPClient` of the callback pool."""

    def __init__(self, network: Network, random: Random, tell: Tell) -> None:
        self.acknowledged: set[str] = set()
        """Tasks whose desire was answered without an error."""
        self.cancelled: set[str] = set()
        self.told: defaultdict[str, list[End]] = defaultdict(list)
        """What callbacks said, by task."""
        self.completed_as: dict[str, End] = {}
        """What a cell said of a task, and was answered without an error."""
        self.status = 200
        """What callbacks are answered; 0: nothing, since nobody is there."""
        self._durations_s: dict[str, float] = {}
        self._network = network
        self._random = random
        self._tell = tell

    def run(self, task_guid: str, cell_id: str) -> TaskRun:
        return TaskRun(self._durations_s[task_guid], result=f"{task_guid} on {cell_id}")

    def completed(self, task_guid: str, *, failed: bool, result: str) -> None:
        self.completed_as[task_guid] = End(failed, result)

    async def desire(self, task_guid: str, duration_s: float) -> None:
        """Ask for a task until it is there; give up after a minute."""
        self._durations_s[task_guid] = duration_s
        definition = task_definition(completion_callback_url=f"{URL}/{task_guid}")
        connector = self._network.connector("task-client")
        async with InternalBBSClient.connect(CONFIG, connector=connector) as bbs:
            with trio.move_on_after(60):
                while True:
                    try:
                        await bbs.desire_task(task_guid=task_guid, domain=DOMAIN, definition=definition)
                    except ResourceExists:
                        break
                    except (BBSError, TransportError) as error:
                        self._tell(f"desire {task_guid}: {error}")
                        await trio.sleep(1)
                    else:
                        break
                self._tell(f"desire {task_guid}: ok")
                self.acknowledged.add(task_guid)

    async def cancel(self, task_guid: str) -> None:
        connector = self._network.connector("task-client")
        async with InternalBBSClient.connect(CONFIG, connector=connector) as bbs:
            try:
                await bbs.cancel_task(task_guid)
            except (BBSError, TransportError) as error:
                self._tell(f"cancel {task_guid}: {error}")
            else:
                self._tell(f"cancel {task_guid}: ok")
                self.cancelled.add(task_guid)

    async def send(self, method: str, url: str, *, headers: object = (), body: bytes | None = None) -> int:
        """Be called back. Raises: NoResponse: nobody is there."""
        await trio.sleep(self._random.uniform(0.001, 0.05))
        if not self.status:
            raise NoResponse("connection refused")
        if self.status == 200:
            said = json.loads(body or b"")
            self._tell(f"called back: {said['task_guid']}")
            self.told[said["task_guid"]].append(End(said["failed"], said["result"]))
        return self.status
