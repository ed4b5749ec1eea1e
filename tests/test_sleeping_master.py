"""A master that slept for longer than its lock is good for, and is granted it again when it wakes.

Locket says nothing of who had the lock in between, so only the database can tell whether memory is old.
"""

import re
import signal

import pytest

from bbs.client import TransportError
from bbs.models.errors import BBSError
from tests.daemons import ANOTHER_IS_WRITER, WAIT_MAX_S, Surroundings, daemon
from tests.databases import ON_BOTH
from tests.masters.locket import ObedientLocket
from tests.store.tcp_proxy import Line, tcp_proxy
from tests.test_daemon import upsert
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

PATIENT = {"lock_ttl": "5s", "lock_retry_interval": "2s"}
"""A renewal has as long as its interval: on a busy machine a short one would be the end of who is to sleep."""


@ON_BOTH
async def test_no_read_is_answered_before_the_database_was_asked(around: Surroundings) -> None:
    """Its session was ended meanwhile, but the line is dead, so it can't know; and Locket has nothing against its renewal."""
    line = Line()
    locket = ObedientLocket(around.tls())
    async with tcp_proxy(around.database.socket, line) as port, locket.served():
        around.locket_address = locket.address
        string = around.database.over_tcp(port).connection_string
        config = around.config("sleeper", database_connection_string=string, **PATIENT)
        async with daemon(around, config) as sleeper, sleeper.client() as client:
            await sleeper.logs("started")
            await client.upsert_domain("before", ttl_s=0)
            async with daemon(around, around.config("successor")) as successor:
                await successor.logs("read-ahead")
                sleeper.process.send_signal(signal.SIGSTOP)
                line.cut()
                await successor.logs("started")
                await upsert(successor, "meanwhile")
                assert await successor.stop() == 0

            assert locket.holder is None
            sleeper.process.send_signal(signal.SIGCONT)
            await wait_until(
                lambda: locket.holder == "sleeper", within_s=WAIT_MAX_S, what="it has the lock again"
            )
            for _ in range(4):  # half a second each, the client's pause after a failure
                with pytest.raises((BBSError, TransportError)):
                    await client.domains()

            line.mend()
            assert await sleeper.exit_code() == 1
        assert re.search(ANOTHER_IS_WRITER, sleeper.data_of("exited-with-failure")["error"])


async def test_a_sleeper_whom_nobody_succeeded_goes_on(around: Surroundings) -> None:
    locket = ObedientLocket(around.tls())
    async with locket.served():
        around.locket_address = locket.address
        async with daemon(around, around.config("sleeper", **PATIENT)) as sleeper, sleeper.client() as client:
            await sleeper.logs("started")
            await client.upsert_domain("before", ttl_s=0)
            sleeper.process.send_signal(signal.SIGSTOP)
            await wait_until(
                lambda: locket.holder is None, within_s=WAIT_MAX_S, what="Locket has forgotten it"
            )
            sleeper.process.send_signal(signal.SIGCONT)
            await sleeper.logs("locket-lock.renewed-late")

            async def answers() -> bool:
                try:
                    return list(await client.domains()) == ["before"]
                except BBSError:  # not yet: the database is being asked
                    return False

            await wait_until(answers, within_s=WAIT_MAX_S, what="it answers")
            await client.upsert_domain("after", ttl_s=0)
            assert await sleeper.stop() == 0
