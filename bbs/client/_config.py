"""How to reach a BBS (spec: client.md §1)."""

import math
import os
import ssl
from dataclasses import dataclass, replace
from typing import Final, Self, TypedDict, Unpack
from urllib.parse import SplitResult, urlsplit

from bbs.client._errors import InvalidClientConfig
from bbs.tls.contexts import StrPath, TLSFiles, TLSFilesInvalid, client_context


class ClientOptions(TypedDict, total=False):
    """What `BBSClient.connect` takes besides the URL: see `ClientConfig`, which has the same names and the defaults."""

    ca_file: StrPath | None
    cert_file: StrPath | None
    key_file: StrPath | None
    insecure_skip_verify: bool
    attempts: int
    connect_timeout_s: float
    tls_handshake_timeout_s: float
    request_timeout_s: float | None
    stream_idle_timeout_s: float | None
    stream_reconnects: int
    stream_reconnect_pause_s: float
    idle_connections_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """How to reach a BBS. `BBSClient.connect` takes it, or the same as keywords.

    An ``https`` URL means TLS, an ``http`` URL means none. What contradicts that is an `InvalidClientConfig` when a client is
    made of it, as is half of a certificate's pair. A file may be None or '', which is not given.

    Attributes:
      url: base URL, such as ``https://bbs.service.cf.internal:8889``; paths are appended.
      ca_file: PEM file of the CAs that the server's certificate may come from. Not given: the system's.
      cert_file: PEM file of our certificate, which a BBS demands as a rule. Its key is in ``key_file``.
      key_file: PEM file of the private key, without a password.
      insecure_skip_verify: talk to whoever answers, without a look at its certificate; ``ca_file`` is not read then.
      attempts: how often a call is tried in all, 1 or more; half a second lies between two attempts. All of them but the
        last may have been carried out, too: see `NO_ANSWER`.
      connect_timeout_s: bound of a TCP connect with its name look-up, in seconds.
      tls_handshake_timeout_s: bound of the TLS handshake after it, in seconds.
      request_timeout_s: bound of one attempt of a call, in seconds, from connecting to the last byte; of a stream of events
        only until its head has come. None: no bound.
      stream_idle_timeout_s: a stream on which nothing came for so many seconds counts as broken. None, the default: never,
        since a quiet fleet has no events, and a BBS sends nothing in between. A peer whose machine is gone is noticed by TCP's
        keep-alive within two minutes all the same; set this where a proxy in between would hide that.
      stream_reconnects: how often a broken stream tries to connect after the first time, before it gives up.
      stream_reconnect_pause_s: between two of these, in seconds.
      idle_connections_max: connections that are kept open for the next calls; 0 or more.
    """

    url: str
    ca_file: StrPath | None = None
    cert_file: StrPath | None = None
    key_file: StrPath | None = None
    insecure_skip_verify: bool = False
    attempts: int = 3
    connect_timeout_s: float = 5.0
    tls_handshake_timeout_s: float = 10.0
    request_timeout_s: float | None = 60.0
    stream_idle_timeout_s: float | None = None
    stream_reconnects: int = 3
    stream_reconnect_pause_s: float = 1.0
    idle_connections_max: int = 2

    @classmethod
    def with_files(cls, url: str, files: TLSFiles, **options: Unpack[ClientOptions]) -> Self:
        """For a server that is reached with these three files."""
        reached_with = cls(url=url, ca_file=files.ca_file, cert_file=files.cert_file, key_file=files.key_file)
        return replace(reached_with, **options)

    def parsed_url(self) -> SplitResult:
        """The base URL, taken apart.

        Raises:
          InvalidClientConfig: it is no HTTP URL, or something else that was given does not go with it, or is no sensible number.
        """
        if self.url.startswith(":"):
            raise InvalidClientConfig(f'parse "{self.url}": missing protocol scheme')
        try:
            parsed = urlsplit(self.url)
            _ = parsed.port  # raises if it is no number
        except ValueError as error:
            raise InvalidClientConfig(f'parse "{self.url}": {error}') from error
        if parsed.scheme not in ("http", "https"):
            raise InvalidClientConfig(
                f'unsupported protocol scheme "{parsed.scheme}": the URL of a BBS begins with https:// or http://'
            )
        if not parsed.hostname:
            raise InvalidClientConfig("no Host in request URL")
        self._require_fitting_files(parsed.scheme)
        self._require_sensible_numbers()
        return parsed

    def ssl_context(self) -> ssl.SSLContext | None:
        """The context for an ``https`` URL, with what the files have now; None for ``http``.

        Raises:
          InvalidClientConfig: as `parsed_url`, or a file is unreadable or unfit.
        """
        if self.parsed_url().scheme == "http":
            return None
        try:
            return client_context(
                ca_file=self.ca_file or None,
                cert_file=self.cert_file or None,
                key_file=self.key_file or None,
                skip_verify=self.insecure_skip_verify,
            )
        except TLSFilesInvalid as error:
            raise InvalidClientConfig(str(error)) from error

    def _require_fitting_files(self, scheme: str) -> None:
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        given = [name for name, file in files.items() if file]
        if scheme == "http" and given:
            named = ", ".join(f"{name} {os.fspath(files[name] or '')}" for name in given)
            raise InvalidClientConfig(
                f"{self.url} is without TLS, so nothing would be made of {named}: "
                "give an https URL, or leave the files out"
            )
        for one, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
            if one in given and other not in given:
                raise InvalidClientConfig(
                    f"{one} {os.fspath(files[one] or '')} is given without {other}: a client's certificate is of no use "
                    f"without its key; give {other}, too, or leave {one} out"
                )

    def _require_sensible_numbers(self) -> None:
        for name in TIME_OUTS:
            seconds = getattr(self, name)
            may_be_unbounded = name in MAY_BE_UNBOUNDED
            if seconds is None and may_be_unbounded:
                continue
            if seconds is None or not 0 < seconds < math.inf:
                unbounded = ", or None for no bound" if may_be_unbounded else ""
                raise InvalidClientConfig(f"{name} is {seconds}: give a number of seconds above 0{unbounded}")
        for name, least in LEAST.items():
            number = getattr(self, name)
            if not least <= number < math.inf:
                raise InvalidClientConfig(f"{name} is {number}: it has to be {least} or more")


TIME_OUTS: Final = (
    "connect_timeout_s", "tls_handshake_timeout_s", "request_timeout_s", "stream_idle_timeout_s",
)  # fmt: skip
MAY_BE_UNBOUNDED: Final = frozenset({"request_timeout_s", "stream_idle_timeout_s"})
"""By None."""
LEAST: Final = {
    "attempts": 1, "stream_reconnects": 0, "stream_reconnect_pause_s": 0, "idle_connections_max": 0,
}  # fmt: skip
