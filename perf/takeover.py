"""How long nobody answers while a standby takes over, cold (it has just started) and warm (it has read ahead).

Measured from the moment at which it holds the lock to its first answer; a takeover by Locket adds what Locket's lock
takes to change hands. The servers share a Postgres or a MariaDB of their own. On MariaDB rows do not say when they were written,
so no standby reads ahead, and each takeover is a cold one.
"""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bbs.embedded_postgres import embedded_postgres_blocking
from bbs.models import pb
from perf.figures import JSON, number, table
from perf.load import LoadGenerator, Target
from perf.mariadb import DATABASE, fresh_mariadb
from perf.server import ServerFailed, Spawned, fresh_home, spawned_server
from perf.workloads import seed_lrp

INSTANCES: Final = 50
"""Instances of each process. Real apps are smaller, which makes no difference to a takeover; seeding is quicker so."""

SEED_MAX_S: Final = 600.0
WAIT_MAX_S: Final = 120.0
POLL_S: Final = 0.02
ASK_S: Final = 0.002
"""Between two attempts to connect."""

HOLDS_LOCK: Final = "acquired-writer-lock"
HAS_READ: Final = "following-changes"
WAITS: Final = "waiting-for-writer-lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """Seconds from the lock to the first answer, how many of them were spent loading, and how many rows were loaded."""

    kind: str
    answers_s: float
    loading_s: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeovers:
    lrps: int
    takeovers: tuple[Takeover, ...]

    def report(self) -> str:
        rows = [
            [each.kind, number(each.rows), number(each.loading_s, digits=2), number(each.answers_s, digits=2)]
            for each in self.takeovers
        ]
        header = ["standby", "rows to load", "loading s", "lock to first answer s"]
        return "\n".join([f"taking over {self.lrps:,} ActualLRPs", "", table(header, rows)])

    def as_json(self) -> dict[str, JSON]:
        return {
            "lrps": self.lrps,
            "takeovers": [
                {"kind": t.kind, "answers_s": t.answers_s, "loading_s": t.loading_s, "rows": t.rows}
                for t in self.takeovers
            ],
        }


def measure_takeovers(*, lrps: int, on_mariadb: bool, say: Callable[[str], None]) -> Takeovers:
    """Seed a master with ``lrps`` ActualLRPs, let one standby take over that has waited, then another one that has just started."""
    with fresh_home() as home, _database(home, on_mariadb=on_mariadb) as url:
        database = ("--database-url", url)
        with spawned_server(home, *database, name="master") as master:
            target = master.running().target
            say(f"desiring {lrps:,} instances")
            _seed(target, lrps)
            asked = _Asked.at_a_free_port(home)
            flags = ("--listen", asked.address, "--log-level", "info")
            with spawned_server(home, *database, *flags, name="warm") as standby:
                say("waiting for the standby to read ahead")
                _wait_for(standby, WAITS if on_mariadb else HAS_READ)
                master.process.terminate()
                waited = _take_over(standby, asked, "waiting" if on_mariadb else "warm")
        say("starting a cold one")
        with spawned_server(home, *database, *flags, name="cold") as standby:
            cold = _take_over(standby, asked, "cold")
    return Takeovers(lrps=lrps, takeovers=(waited, cold))


@contextmanager
def _database(home: Path, *, on_mariadb: bool) -> Iterator[str]:
    """The URL of one."""
    if on_mariadb:
        with fresh_mariadb(home / "mariadb") as mariadb:
            yield mariadb.url_of(DATABASE)
    else:
        with embedded_postgres_blocking(home / "postgres") as postgres:
            yield postgres.dsn


def _seed(target: Target, lrps: int) -> None:
    requests = []
    for i in range(max(lrps // INSTANCES, 1)):
        lrp = seed_lrp(f"takeover-{i:06d}")
        lrp.instances = INSTANCES
        body = pb.DesireLRPRequest(desired_lrp=lrp).SerializeToString()
        requests.append(target.post("/v1/desired_lrp/desire.r2", body))
    with LoadGenerator(target, connections=16) as generator:
        sample = generator.run(requests, max_s=SEED_MAX_S)
    if not sample.good:
        raise ServerFailed(f"desire: {sample.trouble()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Who asks a server that does not listen yet, again and again. Made before there is anything to measure."""

    address: str
    target: Target

    @classmethod
    def at_a_free_port(cls, home: Path) -> "_Asked":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        certs = home / "certs"
        target = Target.from_url(
            f"https://{address}", ca=certs / "ca.crt", cert=certs / "client.crt", key=certs / "client.key"
        )
        return cls(address=address, target=target)

    def first_answer(self, standby: Spawned) -> float:
        """When it came."""
        ping = self.target.post("/v1/ping")
        give_up_s = time.monotonic() + WAIT_MAX_S
        while time.monotonic() < give_up_s:
            try:
                with self.target.connect() as connection:
                    connection.settimeout(WAIT_MAX_S)
                    connection.sendall(ping)
                    if connection.recv(4096)[9:12] == b"200":
                        return time.time()
            except ConnectionError:
                standby.expect_alive()
            time.sleep(ASK_S)
        raise ServerFailed(f"no answer within {WAIT_MAX_S:.0f} s")


def _take_over(standby: Spawned, asked: _Asked, kind: str) -> Takeover:
    answered_at_s = asked.first_answer(standby)
    loaded = json.loads(_wait_for(standby, "loaded"))["data"]
    held_at_s = float(json.loads(_wait_for(standby, HOLDS_LOCK))["timestamp"])
    return Takeover(
        kind=kind,
        answers_s=answered_at_s - held_at_s,
        loading_s=loaded["duration"] / 1e9,
        rows=loaded["rows"],
    )


def _wait_for(server: Spawned, action: str) -> str:
    """The first line of the log with that message."""
    give_up_s = time.monotonic() + WAIT_MAX_S
    while time.monotonic() < give_up_s:
        found = re.search(rf"^.*\"message\":\"bbs\.{action}\".*$", _text(server.log), re.MULTILINE)
        if found is not None:
            return found[0]
        server.expect_alive()
        time.sleep(POLL_S)
    raise ServerFailed(f"no {action} in the log after {WAIT_MAX_S:.0f} s")


def _text(log: Path) -> str:
    return log.read_text(errors="replace")
