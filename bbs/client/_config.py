"""How to reach a BBS (spec: client.md §1)."""

import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from bbs.client._errors import InvalidClientConfig
from bbs.tls.contexts import TLSFilesInvalid, client_context

RETRIES_DEFAULT: Final = 3
RETRY_INTERVAL_DEFAULT_S: Final = 1.0
IDLE_CONNECTIONS_DEFAULT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Upstream's settings, in Python's words; a zero means the default, as there.

    Attributes:
      url: base URL, to which paths are appended.
      is_tls: show a client certificate and check the server's. Without it the TLS settings are not looked at.
      ca_file, cert_file, key_file: PEM files. The certificate and its key are always needed with TLS; the CA file is
        not looked at with ``insecure_skip_verify``.
      max_idle_connections_per_host: kept open for the next call; 0 means 2, a negative number none.
      retries: unary calls: attempts in all. Event streams: attempts to connect after the first. 0 means 3.
      retry_interval_s: between attempts to connect an event stream. 0 means 1 s.
      request_timeout_s: bound of one attempt of a unary call, from connecting to the last byte. 0 means none: then
        only connecting is bounded, and a caller who cannot wait forever sets a deadline of its own.
    """

    url: str
    is_tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False
    max_idle_connections_per_host: int = 0
    retries: int = 0
    retry_interval_s: float = 0.0
    request_timeout_s: float = 0.0

    def parsed_url(self) -> SplitResult:
        """The base URL, taken apart.

        Raises:
          InvalidClientConfig: it is no HTTP URL, or not an ``https`` one although TLS is wanted.
        """
        if self.url.startswith(":"):
            raise InvalidClientConfig(f'parse "{self.url}": missing protocol scheme')
        try:
            parsed = urlsplit(self.url)
            _ = parsed.port  # raises if it is no number
        except ValueError as error:
            raise InvalidClientConfig(f'parse "{self.url}": {error}') from error
        if self.is_tls and parsed.scheme != "https":
            raise InvalidClientConfig("expected https URL")
        if parsed.scheme not in ("http", "https"):
            raise InvalidClientConfig(f'unsupported protocol scheme "{parsed.scheme}"')
        if not parsed.hostname:
            raise InvalidClientConfig("no Host in request URL")
        return parsed

    def ssl_context(self) -> ssl.SSLContext | None:
        """The context for ``https`` URLs, ``None`` for ``http``. Without ``is_tls`` an ``https`` server is checked against
        the system's roots, and no certificate of ours is shown.

        Raises:
          InvalidClientConfig: a file is unreadable or unfit.
        """
        if not self.is_tls:
            is_https = self.parsed_url().scheme == "https"
            return client_context(ca_file=None, cert_file=None, key_file=None) if is_https else None
        try:
            return client_context(
                ca_file=self.ca_file,
                cert_file=self.cert_file,
                key_file=self.key_file,
                skip_verify=self.insecure_skip_verify,
            )
        except TLSFilesInvalid as error:
            raise InvalidClientConfig(str(error)) from error

    @property
    def idle_connections_max(self) -> int:
        if not self.is_tls:
            return IDLE_CONNECTIONS_DEFAULT
        return max(0, self.max_idle_connections_per_host or IDLE_CONNECTIONS_DEFAULT)
