"""``bbs follow`` as an operator would start it: a process with a configuration, an address and a certificate of its own."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from perf.beds import free_port
from perf.followers.asker import Asker, AskFailed
from perf.load import Credentials
from perf.server import BBS, ServerFailed, cpu_of, resident_bytes_of, stop, tail_of

CURRENT_MAX_S: Final = 120.0
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What a follower has to be told: the database at ``dsn`` and its keys, as upstream's configuration has them, the Locket at
    ``locket``, as host:port, and a directory with certificates.
    """

    dsn: str
    keys: Mapping[str, Any]
    locket: str
    certs: Path

    def config(self, name: str, listen_address: str) -> dict[str, Any]:
        certs = {each: str(self.certs / f"{each}") for each in ("ca.crt", "server.crt", "server.key")}
        client = {each: str(self.certs / f"client.{each}") for each in ("crt", "key")}
        return {
            "session_name": "bbs",
            "uuid": name,
            "listen_address": listen_address,
            "health_address": f"127.0.0.1:{free_port()}",
            "ca_file": certs["ca.crt"],
            "cert_file": certs["server.crt"],
            "key_file": certs["server.key"],
            "locket_address": self.locket,
            "locket_ca_cert_file": certs["ca.crt"],
            "locket_client_cert_file": client["crt"],
            "locket_client_key_file": client["key"],
            "lock_ttl": "15s",
            "lock_retry_interval": "5s",
            "database_driver": "postgres",
            "database_connection_string": self.dsn,
            "db_connection_timeout": "30s",
            **self.keys,
            "auctioneer_address": "http://127.0.0.1:1",
            "communication_timeout": "10s",
            "converge_repeat_interval": "30s",
            "kick_task_duration": "30s",
            "expire_pending_task_duration": "30m",
            "expire_completed_task_duration": "2m",
            "convergence_workers": 20,
            "update_workers": 1000,
            "task_callback_workers": 10,
            "max_task_retries": 3,
            "report_interval": "1m",
            "log_level": "error",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A running one."""

    name: str
    process: "subprocess.Popen[bytes]"
    credentials: Credentials
    log: Path

    def cpu_s(self) -> float:
        return cpu_of(self.process.pid).server_s

    def resident_bytes(self) -> int:
        return resident_bytes_of(self.process.pid)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it do nothing at all, as if its machine hung."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def wait_until_current(self, at_least: str = "") -> None:
        """Until it answers, and knows of what the token ``at_least`` is for.

        Raises:
          ServerFailed: it has ended, or does not within `CURRENT_MAX_S`.
        """
        give_up_s = time.monotonic() + CURRENT_MAX_S
        while time.monotonic() < give_up_s:
            if (code := self.process.poll()) is not None:
                raise ServerFailed(f"{self.name} ended with code {code}:\n{tail_of(self.log)}")
            with suppress(OSError, AskFailed), Asker(self.credentials) as asker:
                if asker.ask(at_least).is_good:
                    return
            time.sleep(POLL_S)
        raise ServerFailed(f"{self.name} is not current after {CURRENT_MAX_S:.0f} s:\n{tail_of(self.log)}")


class Followers:
    """A context manager: as many followers as are wanted at the moment; all end with it. ``home`` gets their files."""

    def __init__(self, followed: Followed, home: Path) -> None:
        self._followed = followed
        self._home = home
        self._running: list[tuple[ExitStack, Follower]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.exactly(0)

    def exactly(self, count: int) -> list[Follower]:
        """Start or stop some, until there are so many, which all have what the database has.

        Raises:
          ServerFailed: one does not come so far.
        """
        while len(self._running) > count:
            stack, _ = self._running.pop()
            stack.close()
        while len(self._running) < count:
            stack, name = ExitStack(), f"follower-{len(self._running)}"
            follower = stack.enter_context(_spawned(self._followed, self._home, name))
            self._running.append((stack, follower))
        followers = [follower for _, follower in self._running]
        for each in followers:
            each.wait_until_current()
        return followers


@contextmanager
def _spawned(followed: Followed, home: Path, name: str) -> Iterator[Follower]:
    address = f"127.0.0.1:{free_port()}"
    config, log = home / f"{name}.json", home / f"{name}.log"
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds the keys
    with os.fdopen(descriptor, "w") as file:
        json.dump(followed.config(name, address), file)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*BBS, "follow", "-config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # the terminal's Ctrl-C is for the harness, which stops this one in its turn
        )
    credentials = Credentials(
        url=f"https://{address}",
        ca=followed.certs / "ca.crt",
        cert=followed.certs / "client.crt",
        key=followed.certs / "client.key",
    )
    try:
        yield Follower(name=name, process=process, credentials=credentials, log=log)
    finally:
        stop(process)
