"""Several servers under supervision: whoever ends is launched anew, as monit would, with clients of its own."""

import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import trio

from bbs.client import InternalBBSClient
from tests.daemons import WAIT_MAX_S, Daemon, Surroundings, daemon
from tests.listening import connections_with_something_unread
from tests.masters.clients import Notes, Writer, read
from tests.masters.locket import ObedientLocket
from tests.waiting import wait_until

WRITERS = 4
READERS = 1
LATE_READERS = 3


@dataclass
class Launch:
    """One life of a server. Its ``name`` is its uuid in Locket, and its name in the database.

    ``late`` are clients with a connection that is open and idle: what they send to a process that is stopped waits there.
    """

    name: str
    daemon: Daemon
    late: list[InternalBBSClient] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.daemon.config["listen_address"].rpartition(":")[2])

    def pause(self) -> None:
        self.daemon.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.daemon.process.send_signal(signal.SIGCONT)

    async def must_end(self, code: int) -> None:
        with trio.move_on_after(WAIT_MAX_S):
            await self.daemon.wait_ended()
            assert await self.daemon.process.wait() == code, (self.name, self.daemon.messages()[-20:])
            return
        raise AssertionError(f"{self.name} ought to end, and goes on")


@dataclass
class Fleet:
    """``slots`` are names of servers; the launches of ``a`` are ``a-1``, ``a-2`` and so on. ``changes`` are settings of all
    of them, ``environments`` what a slot's processes find in their environment.
    """

    around: Surroundings
    locket: ObedientLocket
    slots: str
    random: random.Random
    changes: Mapping[str, Any] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", "bbs")
    notes: Notes = field(default_factory=Notes)
    launches: list[Launch] = field(default_factory=list)
    clients_may_start: trio.Event = field(default_factory=trio.Event)
    _may_launch: trio.Event = field(default_factory=trio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.launch_again()
        async with trio.open_nursery() as nursery:
            for slot in self.slots:
                nursery.start_soon(self._keep_running, slot)
            yield
            nursery.cancel_scope.cancel()

    def launch_none(self) -> None:
        """Leave whoever ends as it is, until `launch_again`."""
        self._may_launch = trio.Event()

    def launch_again(self) -> None:
        self._may_launch.set()

    def living(self) -> list[Launch]:
        return [launch for launch in self.launches if not launch.daemon.ended]

    def named(self, name: str | None) -> Launch | None:
        return next((launch for launch in self.living() if launch.name == name), None)

    async def master(self, *, writes: int = 1) -> Launch:
        """Wait until somebody who has the lock has acknowledged so many writes, from now on."""
        before = dict(self.notes.acknowledged)
        with trio.fail_after(WAIT_MAX_S):
            while True:
                launch = self.named(self.locket.holder)
                if launch is not None:
                    name = launch.name
                    if self.notes.acknowledged.get(name, 0) - before.get(name, 0) >= writes:
                        return launch
                await self.notes.wait_news()

    async def successor(self, former: Launch, *, writes: int = 1) -> Launch:
        """As `master`, for somebody else than ``former``."""
        while (launch := await self.master(writes=writes)) is former:
            pass
        return launch

    async def master_with_heirs(self, *, writes: int) -> Launch:
        """As `master`, when every other slot has a standby as well. On a busy machine the lock may run out while they start,
        so that a standby is master before it has read anything: then it is waited for the others of that one.
        """
        while True:
            master = await self.master(writes=writes)
            if await self._others_are_ready(master):
                return master

    async def _others_are_ready(self, master: Launch) -> bool:
        """Wait until every other slot has a standby (true), or ``master`` is master no more."""

        def have_read_ahead() -> bool:
            return all(
                any(
                    "read-ahead" in launch.daemon.messages()
                    for launch in self.living()
                    if launch.name.startswith(slot)
                )
                for slot in self.slots
                if not master.name.startswith(slot)
            )

        await wait_until(
            lambda: have_read_ahead() or self.locket.holder != master.name,
            within_s=WAIT_MAX_S,
            what="every other slot has a standby",
            every_s=0.25,
        )
        return self.locket.holder == master.name

    async def ask_late(self, sleeper: Launch, nursery: trio.Nursery) -> None:
        """Send requests to a process that is stopped. They lie in its sockets when this returns."""
        before = connections_with_something_unread(sleeper.port)
        for client in sleeper.late:
            nursery.start_soon(read, client, sleeper.name, self.notes)
        await wait_until(
            lambda: connections_with_something_unread(sleeper.port) >= before + len(sleeper.late),
            within_s=WAIT_MAX_S,
            what="requests lie in the sleeper's sockets",
        )

    async def _keep_running(self, slot: str) -> None:
        for number in count(1):
            await self._may_launch.wait()
            name = f"{slot}-{number}"
            url = f"{self.around.database_url}&application_name={name}"
            config = self.around.config(name, database_connection_string=url, **self.changes)
            environment = self.environments.get(slot, {})
            async with daemon(self.around, config, program=self.program, environment=environment) as process:
                launch = Launch(name, process)
                self.launches.append(launch)
                await self._use(launch)
                self.notes.tell()

    async def _use(self, launch: Launch) -> None:
        """Write and read as long as it lives, from when it is master."""
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_of_end, launch)
            if await launch.daemon.comes_to_log("loaded"):
                await self.clients_may_start.wait()
                for _ in range(LATE_READERS):
                    client = await stack.enter_async_context(launch.daemon.client())
                    await read(client, launch.name, self.notes)
                    launch.late.append(client)
                client = await stack.enter_async_context(launch.daemon.client())
                for number in range(WRITERS):
                    chance = random.Random(self.random.random())
                    nursery.start_soon(
                        self._write, Writer(launch.name, number, self.notes, chance), client, launch
                    )
                for _ in range(READERS):
                    nursery.start_soon(self._read, client, launch)

    async def _tell_of_end(self, launch: Launch) -> None:
        await launch.daemon.wait_ended()
        self.notes.tell()

    async def _write(self, writer: Writer, client: InternalBBSClient, launch: Launch) -> None:
        while not (launch.daemon.ended or self.notes.is_over):
            await writer.write(client)

    async def _read(self, client: InternalBBSClient, launch: Launch) -> None:
        while not (launch.daemon.ended or self.notes.is_over):
            await read(client, launch.name, self.notes)
