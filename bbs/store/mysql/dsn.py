"""Connection strings for MySQL: upstream's, which are its driver's (spec: mysql.md §1.1), and URLs for ``bbs serve``."""

import ipaddress
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from bbs.store.dsn import BadConnectionString

DEFAULT_PORT: Final = 3306
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_SOCKET: Final = "/tmp/mysql.sock"

TRUE: Final = ("1", "true", "TRUE", "True")
FALSE: Final = ("0", "false", "FALSE", "False")
TLS_NAMES: Final = ("skip-verify", "preferred")

# Parameters that the driver upstream uses knows, and how it reads each. They are checked, so that a mistake is told of as
# there; of what they say, only `tls` and `rejectReadOnly` matter here.
_BOOLEANS: Final = frozenset((
    "allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords", "allowOldPasswords",
    "checkConnLiveness", "clientFoundRows", "columnsWithAlias", "interpolateParams", "multiStatements", "parseTime",
    "rejectReadOnly",
))  # fmt: skip
_DURATIONS: Final = frozenset(("timeout", "readTimeout", "writeTimeout", "timeTruncate"))
_OTHERS: Final = frozenset((
    "charset", "collation", "connectionAttributes", "loc", "maxAllowedPacket", "serverPubKey", "tls",
))  # fmt: skip
_DURATION: Final = re.compile(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class MySQLDSN:
    """A connection string, understood. Either ``socket`` is a path, or ``host`` and ``port`` say where the server is.

    ``tls_mode`` is the string's ``tls``: '' for none, ``true``, ``skip-verify`` or ``preferred``. ``tls`` makes the context
    for it and takes precedence over it. ``unknown`` has the names of parameters that nobody knows, which have no effect.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    socket: str | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    tls_mode: str = ""
    tls: Callable[[], ssl.SSLContext] | None = None
    unknown: tuple[str, ...] = ()

    @property
    def falls_back_to_plain_text(self) -> bool:
        """Whether a server that offers no TLS is talked to all the same. Never where a CA is configured."""
        return self.tls is None and self.tls_mode == "preferred"

    def tls_context(self) -> ssl.SSLContext | None:
        """What to begin TLS with, or ``None`` for none.

        Raises:
          BadConnectionString: the files for it can't be used.
        """
        if self.socket is not None:
            return None
        if self.tls is not None:
            return self.tls()
        if not self.tls_mode:
            return None
        context = ssl.create_default_context()
        if self.tls_mode != "true":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def with_ca(self, ca_file: str, *, verify_identity: bool) -> "MySQLDSN":
        """The same, but with TLS against the certificates of ``ca_file`` alone (spec: mysql.md §1.3).

        Raises:
          OSError, ssl.SSLError: the file can't be read, or has no certificate in it.
        """
        _ca_context(ca_file, verify_identity=verify_identity)
        return replace(self, tls=lambda: _ca_context(ca_file, verify_identity=verify_identity))


def _ca_context(ca_file: str, *, verify_identity: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verify_identity
    context.load_verify_locations(cadata=Path(ca_file).read_text(encoding="latin-1"))
    return context


def parse_mysql_dsn(text: str) -> MySQLDSN:
    """Understand ``user:password@tcp(host:port)/database?key=value``.

    Raises:
      BadConnectionString: in the words of upstream's driver where it has any; never with the string, which has a password.
    """
    before, slash, rest = text.rpartition("/")
    if not slash:
        raise BadConnectionString("invalid DSN: missing the slash separating the database name")
    credentials, _, where = before.rpartition("@")
    user, _, password = credentials.partition(":")
    net, parenthesis, address = where.partition("(")
    if parenthesis:
        if not address.endswith(")"):
            if ")" in address:
                raise BadConnectionString("invalid DSN: did you forget to escape a param value?")
            raise BadConnectionString("invalid DSN: network address not terminated (missing closing brace)")
        address = address[:-1]
    database, _, query = rest.partition("?")
    if _BAD_PERCENT.search(database):
        raise BadConnectionString("invalid dbname: the database name has a % without two hexadecimal digits")
    tls_mode, unknown = _parameters(query)
    dsn = MySQLDSN(
        user=user, password=password, database=unquote(database), tls_mode=tls_mode, unknown=tuple(unknown)
    )
    match net or "tcp":
        case "unix":
            dsn = replace(dsn, socket=address or DEFAULT_SOCKET)
        case "tcp" | "tcp4" | "tcp6":
            host, port = _host_and_port(address)
            dsn = replace(dsn, host=host, port=port)
        case _ if not address:
            raise BadConnectionString(f"default addr for network '{net}' unknown")
        case _:
            raise BadConnectionString(f"dial {net}: unknown network {net}")
    _must_be_sendable(dsn)
    return dsn


def parse_mysql_url(url: str) -> MySQLDSN:
    """Understand ``mysql://user:password@host:port/database?tls=true``, with percent-encoding wherever a URL has it; a
    socket is ``mysql://user@/database?socket=/path``.

    Raises:
      BadConnectionString: never with the URL, which has a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise BadConnectionString(
            "the database URL can't be read: give mysql://user:password@host:port/database, with / ? # [ ] @ in a"
            " user or password percent-encoded"
        ) from error
    tls_mode = parameters.pop("tls", "false")
    if tls_mode not in (*TRUE, *FALSE, *TLS_NAMES):
        raise BadConnectionString(f"tls={tls_mode!r:.20} is none of true, false, {', '.join(TLS_NAMES)}")
    socket = parameters.pop("socket", None)
    if parameters:
        raise BadConnectionString(
            f"the database URL has a parameter {next(iter(parameters))!r:.40}, and only tls and socket are known"
        )
    dsn = MySQLDSN(
        host=unquote(host) or DEFAULT_HOST,
        port=DEFAULT_PORT if port is None else port,
        socket=socket,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")),
        tls_mode="" if tls_mode in FALSE else "true" if tls_mode in TRUE else tls_mode,
    )
    _must_be_sendable(dsn)
    return dsn


def _parameters(query: str) -> tuple[str, list[str]]:
    """The value of ``tls``, '' for none, and the names of the parameters that upstream's driver does not know."""
    tls_mode, unknown = "", []
    for key, value in _pairs(query):
        if key in _BOOLEANS and value not in (*TRUE, *FALSE):
            raise BadConnectionString(f"invalid bool value: {value:.20}")
        if key in _DURATIONS and not _DURATION.fullmatch(value):
            raise BadConnectionString(f"{key}: {value!r:.20} is no duration, such as 10s")
        if key == "maxAllowedPacket" and not re.fullmatch(r"[-+]?\d{1,18}", value):
            raise BadConnectionString(f"maxAllowedPacket {value!r:.20} is no number of bytes")
        if key == "compress":
            raise BadConnectionString("compression not implemented yet")
        if key == "strict":
            raise BadConnectionString(
                "strict mode is not a parameter any more: leave it out, it is always on"
            )
        if key == "tls":
            if value not in (*TRUE, *FALSE, *TLS_NAMES):
                raise BadConnectionString(f"invalid value / unknown config name: {value:.20}")
            tls_mode = "" if value in FALSE else "true" if value in TRUE else value
        elif key not in _BOOLEANS | _DURATIONS | _OTHERS:
            unknown.append(key)
    return tls_mode, unknown


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs = []
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if equals:
            if _BAD_PERCENT.search(value):
                raise BadConnectionString(f"the value of {key!r:.40} has a % without two hexadecimal digits")
            pairs.append((key, unquote(value)))
    return pairs


def _host_and_port(address: str) -> tuple[str, int]:
    if not address:
        return DEFAULT_HOST, DEFAULT_PORT
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise BadConnectionString(
                "the database's address has an IPv6 address without its closing bracket"
            )
        port = port[1:]
    elif address.count(":") > 1 and _is_ipv6(address):
        host, port = address, ""
    else:
        host, _, port = address.partition(":")
    if not port:
        return host or DEFAULT_HOST, DEFAULT_PORT
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        # Not with its text: it may be the rest of a password.
        raise BadConnectionString(
            "what stands for a port in the database's address is not a port, 1 to 65535"
        )
    return host or DEFAULT_HOST, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _must_be_sendable(dsn: MySQLDSN) -> None:
    parts: Mapping[str, str] = {
        "user": dsn.user, "password": dsn.password, "database": dsn.database, "host": dsn.host, "socket": dsn.socket or "",
    }  # fmt: skip
    for name, value in parts.items():
        if "\0" in value:
            raise BadConnectionString(f"the {name} of the connection string contains a NUL character")
    try:
        dsn.host.encode("idna")
    except UnicodeError as error:
        raise BadConnectionString(f"host {dsn.host!r:.80} is no name that could be looked up") from error
