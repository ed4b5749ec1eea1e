"""Fixtures for the whole suite: a Postgres of our own, and a fresh database in it for a test."""

import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from bbs.demo import Behaviour
from bbs.embedded_postgres import EmbeddedPostgres, embedded_postgres_blocking
from bbs.log import LagerSink, Level, Logger, root_logger
from bbs.tls.contexts import client_context, server_context
from bbs.tls.development import DevelopmentCerts
from perf.mariadb import MariaDB, running_mariadb
from tests.daemons import Surroundings, surroundings
from tests.databases import (
    KINDS,
    SomeDatabase,
    execute_on_postgres,
    new_on_mariadb,
    on_postgres,
    require_mariadb,
)
from tests.demo_fleet import DemoStage, Stage, a_fleet
from tests.forked_starts import ForkedStarts
from tests.fuzzing import choose_profile
from tests.log_lines import Lines
from tests.made_once import copied_certs, copy_cluster, copy_mariadb_data
from tests.scratch import scratch_directory
from tests.waiting import wait_until_blocking

_database_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bbs")
    group.addoption(
        "--database",
        choices=KINDS,
        default="postgres",
        help="for tests that hold on both and by default run on one: see tests/databases.py",
    )
    group.addoption("--kill-rounds", type=int, default=20, help="how often the server is killed under writes")
    group.addoption(
        "--cut-every",
        type=int,
        default=211,
        help="every how many bytes the start of a session is cut, beside each message; 1: everything in every way",
    )
    group.addoption(
        "--every-step", action="store_true", help="cancel long calls of the store at every step, not at some"
    )
    group.addoption(
        "--faults-last-s", type=float, default=0, help="how long faults of Postgres last beyond being felt"
    )
    group.addoption("--kill-seed", type=int, default=None, help="repeat the choices of an earlier run")
    group.addoption(
        "--fuzz-examples", type=int, default=None, help="how many examples are made up, new ones each time"
    )
    group.addoption(
        "--masters-rounds", type=int, default=None, help="how many things happen to several masters-to-be"
    )
    group.addoption(
        "--masters-seed", type=int, default=None, help="repeat the order of an earlier run's rounds"
    )
    group.addoption("--cluster-seed", type=int, default=None, help="what clients of a failing cluster choose")
    group.addoption(
        "--every-byte",
        action="store_true",
        help="cut requests and TLS connections at every byte, not at some",
    )
    group.addoption(
        "--subscribers", type=int, default=2000, help="of a process that is stopped, over plain HTTP"
    )
    group.addoption("--tls-subscribers", type=int, default=100, help="the same, over mutual TLS")
    group.addoption("--idle-connections", type=int, default=1000, help="to a process, over plain HTTP")
    group.addoption("--soak-s", type=float, default=20.0, help="how long the server is under a mixed load")
    group.addoption(
        "--write-output",
        action="store_true",
        help="write into pages what their commands show: see tests/docs",
    )


def pytest_configure(config: pytest.Config) -> None:
    choose_profile(config.getoption("--fuzz-examples"))


@pytest.fixture
def masters_rounds(request: pytest.FixtureRequest) -> int | None:
    rounds: int | None = request.config.getoption("--masters-rounds")
    return rounds


@pytest.fixture
def masters_seed(request: pytest.FixtureRequest, testrun_uid: str) -> int:
    """The same for all tests of a run, whichever process they are in: they share out what happens between them."""
    given: int | None = request.config.getoption("--masters-seed")
    seed = int(testrun_uid[:5], 16) if given is None else given
    print(f"--masters-seed {seed}")  # pytest shows it if the test fails
    return seed


@pytest.fixture
def cluster_seed(request: pytest.FixtureRequest) -> int | None:
    given: int | None = request.config.getoption("--cluster-seed")
    return given


@pytest.fixture
def kill_rounds(request: pytest.FixtureRequest) -> int:
    rounds: int = request.config.getoption("--kill-rounds")
    return rounds


@pytest.fixture
def cut_every(request: pytest.FixtureRequest) -> int:
    every: int = request.config.getoption("--cut-every")
    return every


@pytest.fixture
def faults_last_s(request: pytest.FixtureRequest) -> float:
    seconds: float = request.config.getoption("--faults-last-s")
    return seconds


@pytest.fixture
def kill_seed(request: pytest.FixtureRequest) -> int:
    given: int | None = request.config.getoption("--kill-seed")
    seed = random.randrange(1_000_000) if given is None else given
    print(f"--kill-seed {seed}")  # pytest shows it if the test fails
    return seed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if "postgres_server" in item.fixturenames:
            item.add_marker(pytest.mark.postgres)
        if "mariadb_server" in item.fixturenames:
            item.add_marker(pytest.mark.mariadb)
        if "database_kind" in item.fixturenames:
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            item.add_marker(str(parameters.get("database_kind", config.getoption("--database"))))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """One Postgres for the whole session. It does not sync: no test cuts the power."""
    settings = {"fsync": "off", "full_page_writes": "off"}
    with scratch_directory() as directory:
        copy_cluster(directory)
        with embedded_postgres_blocking(directory, settings=settings) as server:
            yield server


@contextmanager
def fresh_postgres_database(server: EmbeddedPostgres) -> Iterator[SomeDatabase]:
    name = f"test_{next(_database_numbers)}"
    execute_on_postgres(server.dsn, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield on_postgres(server, name)
    finally:
        wait_until_blocking(
            lambda: _is_dropped(server, name), within_s=60, what=f"{name} has no replication slot in use"
        )


def _is_dropped(server: EmbeddedPostgres, name: str) -> bool:
    """Whether it could be dropped. It can't, whatever is forced, before the server has noticed that a follower was killed."""
    try:
        execute_on_postgres(server.dsn, f'DROP DATABASE "{name}" WITH (FORCE)')
    except asyncpg.ObjectInUseError:
        return False
    return True


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database of the test's own, which is dropped whoever is still connected."""
    with fresh_postgres_database(postgres_server) as database:
        yield database.url


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    """One MariaDB for the whole session. Skips, by name, where there is none."""
    require_mariadb()
    with scratch_directory() as directory:
        copy_mariadb_data(directory)
        with running_mariadb(directory) as server:
            yield server


@pytest.fixture
def mysql_dsn(mariadb_server: MariaDB) -> Iterator[str]:
    """The connection string of an empty database of the test's own, for the administrator."""
    with _fresh_mysql_database(mariadb_server) as database:
        yield mariadb_server.dsn_of(database.name)


def _fresh_mysql_database(server: MariaDB) -> AbstractContextManager[SomeDatabase]:
    return new_on_mariadb(server, f"test_{next(_database_numbers)}")


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> Logger:
    return root_logger("bbs", LagerSink(lines, min_level=Level.INFO))


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCerts:
    return copied_certs(tmp_path_factory.mktemp("certs") / "copied")


@pytest.fixture(scope="session")
def server_tls(certs: DevelopmentCerts) -> ssl.SSLContext:
    return server_context(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)


@pytest.fixture(scope="session")
def client_tls(certs: DevelopmentCerts) -> ssl.SSLContext:
    return client_context(ca_file=certs.ca_cert, cert_file=certs.client_cert, key_file=certs.client_key)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """What the test's mark says, or ``--database``."""
    return str(getattr(request, "param", request.config.getoption("--database")))


@pytest.fixture
def fresh_database(
    request: pytest.FixtureRequest, database_kind: str
) -> Callable[[], AbstractContextManager[SomeDatabase]]:
    """Makes an empty database, which is dropped in the end whoever is still connected."""
    if database_kind == "postgres":
        return partial(fresh_postgres_database, request.getfixturevalue("postgres_server"))
    return partial(_fresh_mysql_database, request.getfixturevalue("mariadb_server"))


@pytest.fixture
def some_database(
    fresh_database: Callable[[], AbstractContextManager[SomeDatabase]],
) -> Iterator[SomeDatabase]:
    with fresh_database() as database:
        yield database


@pytest.fixture
def some_databases(
    fresh_database: Callable[[], AbstractContextManager[SomeDatabase]],
) -> Iterator[list[SomeDatabase]]:
    """Eight of a kind, for a test that mostly waits and does so in all of them at once."""
    with ExitStack() as stack:
        yield [stack.enter_context(fresh_database()) for _ in range(8)]


@pytest.fixture(scope="session")
def starts(tmp_path_factory: pytest.TempPathFactory) -> ForkedStarts:
    """For starts that end by themselves."""
    return ForkedStarts(tmp_path_factory.mktemp("starts"))


@pytest.fixture
async def around(tmp_path: Path, some_database: SomeDatabase) -> AsyncIterator[Surroundings]:
    """What daemons need around them: certificates, a Locket, an auctioneer, an empty database."""
    async with surroundings(tmp_path, some_database) as around:
        yield around


@pytest.fixture
def demo_stage(tmp_path: Path, database_url: str, certs: DevelopmentCerts) -> DemoStage:
    """Runs a server, and a simulated fleet beside it, in this process; see `tests.demo_fleet`."""

    def stage(
        behaviour: Behaviour, *, cells: int = 3, apps: Sequence[tuple[str, int]] = (("app", 6),)
    ) -> AbstractAsyncContextManager[Stage]:
        return a_fleet(tmp_path, database_url, certs, behaviour, cells=cells, apps=apps)

    return stage
