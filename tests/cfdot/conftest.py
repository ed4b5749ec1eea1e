"""A server with a Locket, over mutual TLS, that many invocations are made of."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bbs.client import ClientConfig, InternalBBSClient
from bbs.embedded_postgres import EmbeddedPostgres
from bbs.tls.development import DevelopmentCerts
from tests.cfdot.running import Ended, cfdot
from tests.conftest import fresh_postgres_database
from tests.daemons import free_port


@dataclass(frozen=True, slots=True)
class Server:
    process: "subprocess.Popen[bytes]"
    url: str
    locket: str
    certs: DevelopmentCerts

    @property
    def environment(self) -> Mapping[str, str]:
        """What points cfdot to it."""
        return {
            "BBS_URL": self.url,
            "LOCKET_API_LOCATION": self.locket,
            "CA_CERT_FILE": str(self.certs.ca_cert),
            "CLIENT_CERT_FILE": str(self.certs.client_cert),
            "CLIENT_KEY_FILE": str(self.certs.client_key),
        }

    def client(self) -> AbstractAsyncContextManager[InternalBBSClient]:
        return InternalBBSClient.connect(
            ClientConfig.with_files(self.url, self.certs.client_files, attempts=1)
        )

    def run(self, *words: str, **changes: str) -> Ended:
        return cfdot(*words, environment={**self.environment, **changes})

    def tell(self, *words: str) -> list[str]:
        """The lines of an invocation that succeeds."""
        ended = self.run(*words)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.lines


@contextmanager
def running_server(
    certs: DevelopmentCerts, data: Path, database_url: str, listen: str = "127.0.0.1:0", debug: str = ""
) -> Iterator[Server]:
    """``bbs serve``; killed in the end, if it has not ended by then. It may go on with the data of one that has ended."""
    locket = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "bbs", "serve", "--listen", listen, "--locket-listen", locket]
    command += ["--data-dir", str(data), "--database-url", database_url, "--ca-file", str(certs.ca_cert)]
    command += ["--cert-file", str(certs.server_cert), "--key-file", str(certs.server_key)]
    command += ["--debug-listen", debug] if debug else []
    data.mkdir(exist_ok=True)
    with (
        (data / "log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert line.startswith("listening on "), (data / "log").read_text()
            yield Server(process, line.removeprefix("listening on ").strip(), locket, certs)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def server(
    certs: DevelopmentCerts, tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres
) -> Iterator[Server]:
    """One server for all tests, which are about guids, domains and cells of their own."""
    data = tmp_path_factory.mktemp("server") / "data"
    with (
        fresh_postgres_database(postgres_server) as database,
        running_server(certs, data, database.url) as running,
    ):
        yield running


StartServer = Callable[..., Server]


@pytest.fixture
def start_server(certs: DevelopmentCerts, tmp_path: Path, database_url: str) -> Iterator[StartServer]:
    """Starts a server that a test may end as it likes."""
    with ExitStack() as servers:
        yield lambda listen="127.0.0.1:0", debug="": servers.enter_context(
            running_server(certs, tmp_path / "data", database_url, listen, debug)
        )


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Such as a command needs to begin. Nobody answers."""
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    files = {
        "CA_CERT_FILE": "ca",
        "CLIENT_CERT_FILE": "cert",
        "CLIENT_KEY_FILE": "key",
    }
    return {"BBS_URL": "https://127.0.0.1:1", **{name: str(tmp_path / file) for name, file in files.items()}}
