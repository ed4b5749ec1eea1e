"""Upstream's database connection strings (spec: config.md 2.3), read without help from libpq or asyncpg.

Client libraries built on libpq are stricter than upstream's driver, which sends every key it doesn't know to the server
as a run-time parameter, and both read environment variables in ways of their own. So the string is taken apart here and
becomes a list of attempts, each complete: nothing is left for the environment to decide.
"""

import configparser
import getpass
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

import asyncpg

from bbs.store.connecting import first_to_let_us_in
from bbs.store.driver_errors import driver_text, meaning
from bbs.store.side_connection import SideConnection

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SOCKET_FOLDERS: Final = ("/var/run/postgresql", "/tmp")
DEFAULT_PORT: Final = 5432
SECONDS_DIGITS_MAX: Final = 9
NO_FILE: Final = "/dev/null/none"
"""A path at which there can be no file. Given no path at all, asyncpg would look for a password file in places of its own."""

SESSION_ATTRIBUTES: Final = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")

# Which environment variable stands in for which key.
ENVIRONMENT: Final = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGDATABASE": "database",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGAPPNAME": "application_name",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGSSLMODE": "sslmode",
    "PGSSLKEY": "sslkey",
    "PGSSLCERT": "sslcert",
    "PGSSLSNI": "sslsni",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLPASSWORD": "sslpassword",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGSERVICE": "service",
    "PGSERVICEFILE": "servicefile",
    "PGTZ": "timezone",
    "PGOPTIONS": "options",
}

# Keys that are for the client; all others go to the server. Those of the last three rows are understood by upstream's
# driver only: they are accepted and have no effect.
CLIENT_KEYS: Final = frozenset((
    "host", "port", "database", "user", "password", "passfile", "connect_timeout",
    "sslmode", "sslkey", "sslcert", "sslrootcert", "sslpassword", "sslsni", "sslnegotiation",
    "target_session_attrs", "service", "servicefile",
    "krbspn", "krbsrvname", "channel_binding", "require_auth",
    "min_protocol_version", "max_protocol_version",
    "default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity",
))  # fmt: skip

EXEC_MODES: Final = ("cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol")

_ASSIGNMENT: Final = re.compile(r"\s*([^\s=]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
# What Go's URLs may have before the host.
_CREDENTIALS: Final = re.compile(r"[A-Za-z0-9._~:!$&'()*+,;=%@-]*")

# Refusals after which the next server or TLS setting is not tried, since it would refuse us likewise. Others may be about
# TLS, or the lack of it.
_FINAL_ANSWERS: Final = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)


Admit: TypeAlias = Callable[["asyncpg.Connection[Any]"], Awaitable[None]]


class BadConnectionString(ValueError):
    """The connection string can't be used. The text never contains the string, which holds a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One way to try: a server, with TLS or without. ``host`` is a folder for a Unix socket. ``tls`` is set up here."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSSettings:
    """What the attempts' ``tls`` was set up from, for libpq, which reads the files itself. ``mode`` is one of `SSL_MODES`;
    ``root`` is a file, ``system``, or empty.
    """

    mode: str
    root: str
    cert: str | None
    key: str | None
    key_password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DSN:
    """A connection string, understood. ``attempts`` on one server are made in order; several servers are asked a moment
    apart (`bbs.store.connecting`). ``connect_timeout_s`` is for each attempt.

    ``server_settings`` are sent to the server as they are.
    """

    attempts: tuple[Attempt, ...]
    user: str
    password: str | None = field(repr=False)
    passfile: str | None
    database: str
    tls_settings: TLSSettings
    direct_tls: bool
    connect_timeout_s: float | None
    target_session_attrs: str
    server_settings: Mapping[str, str]

    def arguments(self, attempt: Attempt) -> dict[str, Any]:
        """Keyword arguments for `asyncpg.connect`."""
        return {
            "host": attempt.host,
            "port": attempt.port,
            "ssl": attempt.tls or False,
            "direct_tls": self.direct_tls and attempt.tls is not None,
            "user": self.user,
            "password": self.password,
            "passfile": self.passfile or NO_FILE,
            "database": self.database,
            "target_session_attrs": self.target_session_attrs,
            "server_settings": dict(self.server_settings),
        }

    @property
    def servers(self) -> tuple[tuple[Attempt, ...], ...]:
        """The attempts, server by server."""
        return tuple(
            tuple(attempts)
            for _, attempts in groupby(self.attempts, lambda attempt: (attempt.host, attempt.port))
        )

    @property
    def where(self) -> str:
        """All servers, for people."""
        return ", ".join(f"{server[0].host}:{server[0].port}" for server in self.servers)

    @property
    def has_standbys(self) -> bool:
        """Whether it names several servers, of which one can be written to: another one may, in a while."""
        return len(self.servers) > 1 and self.target_session_attrs in ("read-write", "primary")

    async def connect(
        self, *, timeout_s: float, admit: Admit | None = None, **more: Any
    ) -> "asyncpg.Connection[Any]":
        """Connect to the first server that lets us. Runs under asyncio. ``timeout_s`` is the most for one attempt.

        ``admit`` looks at a new connection, and raises if it will not do; that is as if the server had refused us. It has to
        end by itself.

        Raises:
          Exception: whatever the last attempt failed with; `bbs.store.driver_errors` knows what it means.
        """
        if self.connect_timeout_s is not None:
            timeout_s = min(timeout_s, self.connect_timeout_s)

        async def connect_to(server: Sequence[Attempt]) -> "asyncpg.Connection[Any]":
            for number, attempt in enumerate(server, start=1):
                try:
                    connection = await _connect(**self.arguments(attempt), timeout=timeout_s, **more)
                    break
                except _FINAL_ANSWERS:
                    raise
                except Exception:
                    # Also what a server makes the driver stumble over: the next attempt may do better, and the last one's
                    # failure is raised.
                    if number == len(server):
                        raise
            if admit is not None:
                try:
                    await admit(connection)
                except BaseException:
                    connection.terminate()
                    raise
            return connection

        return await first_to_let_us_in(
            self.servers,
            connect_to,
            abandon=lambda connection: connection.terminate(),
            is_final=lambda failure: isinstance(failure, _FINAL_ANSWERS),
        )

    async def open_session(self, *, timeout_s: float, **more: Any) -> "asyncpg.Connection[Any]":
        """As `connect`, but a server that refuses us is as good as away: its words are about us, and not about a row.

        Raises:
          ConnectionError: it refused, in its words.
          Exception: whatever else the last attempt failed with.
        """
        try:
            return await self.connect(timeout_s=timeout_s, **more)
        except asyncpg.PostgresError as error:
            raise ConnectionError(driver_text(error)) from error

    def side_connection(
        self, *, connect_s: float, statement_s: float | None = None, admit: Admit | None = None
    ) -> "SideConnection[asyncpg.Connection[Any]]":
        """A connection beside the writer's. ``connect_s`` bounds an attempt to connect and ``statement_s``, if given, each
        statement, in seconds; ``admit`` is as for `connect`.
        """
        return SideConnection(
            partial(self.open_session, timeout_s=connect_s, command_timeout=statement_s, admit=admit),
            meaning=meaning,
        )


async def _connect(**arguments: Any) -> "asyncpg.Connection[Any]":
    connection: asyncpg.Connection[Any] = await asyncpg.connect(**arguments)
    return connection


def parse_dsn(text: str, environment: Mapping[str, str] | None = None) -> DSN:
    """Understand a connection string, with the environment for what it doesn't say.

    Raises:
      BadConnectionString: it, the environment, or a file that one of them names makes no sense.
    """
    environment = os.environ if environment is None else environment
    settings = {key: environment[name] for name, key in ENVIRONMENT.items() if environment.get(name)}
    given = _from_url(text) if text.startswith(("postgres://", "postgresql://")) else _from_keywords(text)
    settings |= _from_service({**settings, **given}, environment)
    settings |= given
    _must_be_sendable(settings)
    user = settings.get("user") or _operating_system_user()
    mode = settings.get("default_query_exec_mode", EXEC_MODES[0])
    if mode not in EXEC_MODES:
        raise BadConnectionString(f"default_query_exec_mode {mode!r} is none of {', '.join(EXEC_MODES)}")
    session = settings.get("target_session_attrs") or "any"
    if session not in SESSION_ATTRIBUTES:
        raise BadConnectionString(
            f"target_session_attrs {session!r} is none of {', '.join(SESSION_ATTRIBUTES)}"
        )
    negotiation = settings.get("sslnegotiation") or "postgres"
    if negotiation not in ("postgres", "direct"):
        raise BadConnectionString(f"sslnegotiation {negotiation!r} is neither 'postgres' nor 'direct'")
    tls_settings = _tls_settings(settings)
    tls = _tls_choices(tls_settings, direct=negotiation == "direct")
    return DSN(
        attempts=tuple(
            Attempt(host=host, port=port, tls=choice)
            for host, port in _servers(settings)
            for choice in ((None,) if host.startswith("/") else tls)
        ),
        user=user,
        password=settings.get("password") or None,
        passfile=settings.get("passfile") or _home_file(".pgpass", environment),
        database=settings.get("database") or user,
        tls_settings=tls_settings,
        direct_tls=negotiation == "direct",
        connect_timeout_s=_seconds(settings.get("connect_timeout")),
        target_session_attrs=session,
        server_settings={key: value for key, value in settings.items() if key not in CLIENT_KEYS},
    )


def _must_be_sendable(settings: Mapping[str, str]) -> None:
    """A NUL ends a text in Postgres' protocol, and in the system's calls."""
    for key, value in settings.items():
        if "\0" in key or "\0" in value:
            raise BadConnectionString(f"the value of {key!r:.40} contains a NUL character")
    for host in settings.get("host", "").split(","):
        try:
            host.startswith("/") or host.encode("idna")
        except UnicodeError as error:
            raise BadConnectionString(f"host {host!r:.80} is no name that could be looked up") from error


def _from_keywords(text: str) -> dict[str, str]:
    settings = {}
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _ASSIGNMENT.match(text, at)
        if match is None:
            raise BadConnectionString(f"no key=value at character {at + 1} of the connection string")
        key, value = match.groups()
        at = match.end()
        if value.startswith("'"):
            if len(value) < 2 or not value.endswith("'") or (at < len(text) and not text[at].isspace()):
                # Not with its key: after a password that lacks its quotes, the key is the rest of it.
                raise BadConnectionString(
                    f"the quoted value that begins at character {match.start(2) + 1} does not end where it should"
                )
            value = value[1:-1]
        settings[_canonical(key)] = _ESCAPE.sub(r"\1", value)
    if settings.get("user") == "":
        del settings["user"]
    return settings


def _from_url(text: str) -> dict[str, str]:
    _, _, rest = text.partition("://")
    rest, _, query = rest.partition("#")[0].partition("?")
    location, _, path = rest.partition("/")
    credentials, _, servers = location.rpartition("@")
    if not _CREDENTIALS.fullmatch(credentials):
        raise BadConnectionString(
            "the connection URL's user or password has a character that has to be percent-encoded there"
        )
    user, _, password = credentials.partition(":")
    settings = {
        "user": _decoded(user),
        "password": _decoded(password),
        "database": _decoded(path.lstrip("/")),
    }
    hosts, ports = [], []
    for server in servers.split(",") if servers else ():
        host, port = _host_and_port(server)
        hosts.append(host)
        ports.append(port)
    if hosts:
        settings["host"] = ",".join(hosts)
        if any(ports):
            settings["port"] = ",".join(port or str(DEFAULT_PORT) for port in ports)
    settings = {key: value for key, value in settings.items() if value}
    try:
        settings |= {
            _canonical(key): value for key, value in parse_qsl(query, keep_blank_values=True, errors="strict")
        }
    except ValueError as error:
        raise BadConnectionString("the connection URL's parameters can't be read") from error
    return settings


def _host_and_port(server: str) -> tuple[str, str]:
    if server.startswith("["):
        host, bracket, port = server[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise BadConnectionString("the connection URL has an IPv6 address without its closing bracket")
        return host, port[1:]
    host, _, port = server.partition(":")
    if ":" in port:
        raise BadConnectionString("the connection URL has a host with more than one port")
    return _decoded(host), port


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise BadConnectionString("the connection URL has a % without two hexadecimal digits")
    return unquote(text)


def _canonical(key: str) -> str:
    return "database" if key == "dbname" else key


def _from_service(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    service = settings.get("service")
    if not service:
        return {}
    path = settings.get("servicefile") or _home_file(".pg_service.conf", environment)
    # No interpolation: a password may contain anything.
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=False)
    try:
        with open(path or "", encoding="utf-8") as file:
            parser.read_file(file)
        return {_canonical(key): value for key, value in parser.items(service)}
    except OSError as error:
        raise BadConnectionString(
            f"service {service!r} can't be read: {error.strerror}: {error.filename!r}"
        ) from error
    except configparser.NoSectionError as error:
        raise BadConnectionString(f"service {service!r} is not in {path}") from error
    except (ValueError, configparser.Error):
        # Nothing of the parser's error, not even as the cause: it shows lines of the file, and one holds the password.
        raise BadConnectionString(
            f"service {service!r} can't be read: {path} has to be lines of UTF-8, [service] and key=value"
        ) from None


def _servers(settings: Mapping[str, str]) -> list[tuple[str, int]]:
    hosts = (settings.get("host") or _default_host()).split(",")
    ports = (settings.get("port") or str(DEFAULT_PORT)).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise BadConnectionString(f"{len(hosts)} hosts, but {len(ports)} ports")
    return [(host or _default_host(), _port(port)) for host, port in zip(hosts, ports, strict=True)]


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text.lstrip("0")) <= 5 and 0 < int(text) < 65536:
        return int(text)
    # Not with its text: in a URL it is the beginning of a password with one of these characters in it.
    raise BadConnectionString(
        "what stands for a port is not a port, 1 to 65535 (in a URL, a user or password has to have / ? # percent-encoded)"
    )


def _default_host() -> str:
    return next((folder for folder in SOCKET_FOLDERS if os.path.exists(folder)), "localhost")


def _operating_system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise BadConnectionString("no user is given, and the one running this process has no name") from error


def _home_file(name: str, environment: Mapping[str, str]) -> str | None:
    home = environment.get("HOME")
    return str(Path(home) / name) if home else None


def _seconds(text: str | None) -> float | None:
    """A timeout; none and 0 mean there is no limit."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > SECONDS_DIGITS_MAX:
        raise BadConnectionString(f"connect_timeout {text!r:.20} is not a number of seconds")
    return float(text) or None


def _tls_settings(settings: Mapping[str, str]) -> TLSSettings:
    mode = settings.get("sslmode") or "prefer"
    if mode not in SSL_MODES:
        raise BadConnectionString(f"sslmode {mode!r:.20} is none of {', '.join(SSL_MODES)}")
    root = settings.get("sslrootcert", "")
    if root == "system":
        mode = "verify-full"
    elif mode == "require" and root:
        mode = "verify-ca"
    if bool(settings.get("sslcert")) != bool(settings.get("sslkey")):
        raise BadConnectionString('both "sslcert" and "sslkey" are required')
    return TLSSettings(
        mode=mode,
        root=root,
        cert=settings.get("sslcert") or None,
        key=settings.get("sslkey") or None,
        key_password=settings.get("sslpassword", ""),
    )


def _tls_choices(settings: TLSSettings, *, direct: bool) -> tuple[ssl.SSLContext | None, ...]:
    """With which TLS settings to try each server, in order."""
    if settings.mode == "disable":
        return (None,)
    context = _tls_context(settings, direct=direct)
    return {"allow": (None, context), "prefer": (context, None)}.get(settings.mode, (context,))


def _tls_context(settings: TLSSettings, *, direct: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.mode == "verify-full"
    verify = settings.mode in ("verify-ca", "verify-full")
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    try:
        if settings.root and settings.root != "system":
            context.load_verify_locations(cafile=settings.root)
        elif verify:
            context.load_default_certs()
        if settings.cert:
            # A password of no length, so that an encrypted key fails instead of asking at the terminal.
            context.load_cert_chain(settings.cert, settings.key, password=lambda: settings.key_password)
    except (OSError, ValueError) as error:
        raise BadConnectionString(f"the certificates for the database can't be used: {error}") from error
    if direct:
        context.set_alpn_protocols(["postgresql"])
    return context
