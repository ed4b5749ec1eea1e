"""From a connection string to a session of libpq's: as asyncpg's sessions are made from the same `DSN`, on Trio.

libpq is given every setting by name. Names of hosts are looked up by Trio, in a thread of its own, and libpq gets the
addresses: left to itself it would block the event loop for as long as the lookup takes.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import trio

from bbs.store.backend import BackendUnavailable
from bbs.store.changes.session import Session, open_session
from bbs.store.connecting import NEXT_S
from bbs.store.dsn import DSN, NO_FILE, Attempt, TLSSettings

APPLICATION_NAME: Final = "bbs-changes"
"""How our sessions are called, whatever the connection string says: Postgres compares a follower's name with
``synchronous_standby_names``, and a follower must not be taken for a copy of the data."""

SYSTEM_ROOTS: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""The operating system's certificates: of Debian and its kin, of Red Hat and its kin."""

# A server whose machine is gone is found out in 10 + 3 * 5 seconds. No effect on Unix sockets.
_KEEPALIVES: Final = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"}

_OURS: Final = frozenset(("options", "application_name", "client_encoding", "replication"))


async def anybody(session: Session) -> None:
    """Admits each server that lets us in."""


async def connect(
    dsn: DSN,
    *,
    replication: bool,
    attempt_s: float,
    admit: Callable[[Session], Awaitable[None]] = anybody,
) -> tuple[Session, Sequence[Attempt]]:
    """A session with the first server that lets us, and which server that is.

    Servers are asked in the order of the connection string, the next one when the last one has refused or has not answered
    for `bbs.store.connecting.NEXT_S`. ``attempt_s`` is the most for one attempt. ``admit`` looks at a new session and raises
    `BackendUnavailable` if its server will not do, which is as if it had refused us.

    Raises:
      BackendUnavailable: none lets us; what the last one to answer said.
    Cancellation:
      Gives all attempts up.
    """
    if dsn.connect_timeout_s is not None:
        attempt_s = min(attempt_s, dsn.connect_timeout_s)
    found: list[tuple[Session, Sequence[Attempt]]] = []
    failures: list[BackendUnavailable] = []

    async def ask(server: Sequence[Attempt], has_failed: trio.Event, attempts: trio.CancelScope) -> None:
        try:
            session = await _connect_to(dsn, server, replication=replication, attempt_s=attempt_s)
            try:
                await admit(session)
            except BaseException:
                session.close()
                raise
        except BackendUnavailable as failure:
            failures.append(failure)
            has_failed.set()
        else:
            found.append((session, server))
            attempts.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for server in dsn.servers:
                has_failed = trio.Event()
                nursery.start_soon(ask, server, has_failed, nursery.cancel_scope)
                with trio.move_on_after(NEXT_S):
                    await has_failed.wait()
        if not found:
            raise failures[-1]
    except BaseException:
        for session, _ in found:
            session.close()
        raise
    # Two may have let us in at the same moment.
    for session, _ in found[1:]:
        session.close()
    return found[0]


async def _connect_to(dsn: DSN, server: Sequence[Attempt], *, replication: bool, attempt_s: float) -> Session:
    """Try the ways to one server, with TLS or without, in order."""
    for number, attempt in enumerate(server, start=1):
        try:
            addresses = await _addresses(attempt, within_s=attempt_s)
            settings = libpq_settings(dsn, attempt, addresses, replication=replication)
            return await open_session(conninfo(settings), within_s=attempt_s)
        except BackendUnavailable:
            if number == len(server):
                raise
    raise AssertionError("the last attempt raises or returns")


async def _addresses(attempt: Attempt, *, within_s: float) -> list[str]:
    if attempt.host.startswith("/"):
        return []
    try:
        with trio.fail_after(within_s):
            found = await trio.socket.getaddrinfo(attempt.host, attempt.port, type=trio.socket.SOCK_STREAM)
    except (OSError, trio.TooSlowError) as error:
        reason = str(error) or f"no answer within {within_s:g} s"
        raise BackendUnavailable(f"cannot look up {attempt.host}: {reason}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def libpq_settings(
    dsn: DSN, attempt: Attempt, addresses: Sequence[str], *, replication: bool
) -> dict[str, str]:
    """What libpq is told, for one way to one server, which may have several ``addresses``."""
    count = len(addresses) or 1
    options = [dsn.server_settings.get("options", "")]
    options += [
        f"-c {_escaped(f'{name}={value}')}"
        for name, value in dsn.server_settings.items()
        if name not in _OURS
    ]
    settings = {
        "host": ",".join([attempt.host] * count),
        "hostaddr": ",".join(addresses),
        "port": ",".join([str(attempt.port)] * count),
        "user": dsn.user,
        "password": dsn.password or "",
        "passfile": dsn.passfile or NO_FILE,
        "dbname": dsn.database,
        "target_session_attrs": dsn.target_session_attrs,
        "application_name": APPLICATION_NAME,
        "client_encoding": "UTF8",
        "options": " ".join(filter(None, options)),
        "gssencmode": "disable",
        "replication": "database" if replication else "",
        **_KEEPALIVES,
        **(_tls(dsn.tls_settings, direct=dsn.direct_tls) if attempt.tls else {"sslmode": "disable"}),
    }
    return {name: value for name, value in settings.items() if value}


def conninfo(settings: Mapping[str, str]) -> bytes:
    quoted = ((name, value.replace("\\", "\\\\").replace("'", "\\'")) for name, value in settings.items())
    return " ".join(f"{name}='{value}'" for name, value in quoted).encode()


def _tls(tls: TLSSettings, *, direct: bool) -> dict[str, str]:
    verifies = tls.mode in ("verify-ca", "verify-full")
    root = NO_FILE  # libpq would verify if there were a file
    if verifies:
        root = tls.root if tls.root not in ("", "system") else _system_roots()
    certificate = (
        {"sslcert": tls.cert, "sslkey": tls.key or "", "sslpassword": tls.key_password}
        if tls.cert
        else {"sslcertmode": "disable"}
    )
    return {
        "sslmode": tls.mode if verifies else "require",
        "sslrootcert": root,
        "sslnegotiation": "direct" if direct else "postgres",
        **certificate,
    }


def _system_roots() -> str:
    """A file, since the OpenSSL that comes with psycopg may look for ``system`` elsewhere than ours."""
    for path in (ssl.get_default_verify_paths().cafile, *SYSTEM_ROOTS):
        if path and Path(path).is_file():
            return path
    return "system"


def _escaped(option: str) -> str:
    return option.replace("\\", "\\\\").replace(" ", "\\ ")
