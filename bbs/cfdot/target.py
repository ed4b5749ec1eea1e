"""Whom a command talks to, and with which certificate: from flags, else from the environment (spec: client.md §5.1)."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from bbs.cfdot.errors import Invalid, Usage
from bbs.cfdot.flags import Flag, Flags, Kind
from bbs.cfdot.go_values import BadValue, parse_bool, parse_int

BBS_URL: Final = Flag("bbsURL", "URL of BBS server to target [environment variable equivalent: BBS_URL]")
LOCKET_LOCATION: Final = Flag(
    "locketAPILocation",
    "Hostname:Port of Locket server to target [environment variable equivalent: LOCKET_API_LOCATION]",
)
TIMEOUT: Final = Flag(
    "timeout",
    "timeout for BBS requests in seconds [environment variable equivalent: CFDOT_TIMEOUT]",
    Kind.INT,
)
TLS_FLAGS: Final = (
    Flag(
        "caCertFile",
        "path the Certificate Authority (CA) file to use when verifying TLS keypairs"
        " [environment variable equivalent: CA_CERT_FILE]",
    ),
    Flag(
        "clientCertFile",
        "path to the TLS client certificate to use during mutual-auth TLS"
        " [environment variable equivalent: CLIENT_CERT_FILE]",
    ),
    Flag(
        "clientKeyFile",
        "path to the TLS client private key file to use during mutual-auth TLS"
        " [environment variable equivalent: CLIENT_KEY_FILE]",
    ),
    Flag(
        "skipCertVerify",
        "when set to true, skips all SSL/TLS certificate verification"
        " [environment variable equivalent: SKIP_CERT_VERIFY]",
        Kind.BOOL,
    ),
)
TARGET: Final = Flag(
    "target", "named target to talk to, with its certificates [environment variable equivalent: BBS_TARGET]"
)
"""Only ``bbs`` has it: see `bbs.console.targets`."""
BBS_FLAGS: Final = (BBS_URL, *TLS_FLAGS)
LOCKET_FLAGS: Final = (*TLS_FLAGS, LOCKET_LOCATION)

TIMEOUT_BITS: Final = 16
"""What upstream lets the environment say; the flag may say more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``address`` is the BBS's URL or Locket's host and port. ``ca_file`` may be '' if ``skip_verify``. ``timeout_s``: 0 is none.
    ``debug`` is the host and port of the BBS's debug port, '' if nothing says where it is. Without ``is_tls`` no file counts.
    """

    address: str
    ca_file: str
    cert_file: str
    key_file: str
    skip_verify: bool
    timeout_s: int = 0
    debug: str = ""
    is_tls: bool = True


NOBODY: Final = Target(address="", ca_file="", cert_file="", key_file="", skip_verify=False, is_tls=False)
"""Of commands that talk to nobody."""


class NoAddress(Invalid):
    """Nothing says whom to talk to."""


def bbs_target(flags: Flags, environment: Mapping[str, str], *, may_be_plain: bool = False) -> Target:
    """``may_be_plain``: an ``http`` URL is taken, too, as of a ``bbs serve`` without certificates.

    Raises:
      NoAddress: there is no URL.
      Invalid: something is missing or unusable; the first that upstream would find.
      Usage: CFDOT_TIMEOUT is no number.
    """
    either = "Please specify one with the '--bbsURL' flag or the 'BBS_URL' environment variable."
    url = _setting(flags, "bbsURL", environment, "BBS_URL")
    if not url:
        raise NoAddress(f"BBS URL not set. {either}")
    scheme = scheme_of(url)
    if scheme is None:
        raise Invalid(f"The value '{url}' is not a valid BBS URL. {either}")
    if scheme == "http" and may_be_plain:
        return _plain(flags, environment, url)
    if scheme != "https":
        raise Invalid(f"The URL '{url}' does not have an 'https' scheme. {either}")
    return _with_certificates(flags, environment, url)


def locket_target(flags: Flags, environment: Mapping[str, str], *, may_be_plain: bool = False) -> Target:
    """``may_be_plain``: beside a BBS without TLS, which BBS_URL says, is a Locket without TLS.

    Raises:
      NoAddress, Invalid: as `bbs_target`.
    """
    address = _setting(flags, "locketAPILocation", environment, "LOCKET_API_LOCATION")
    if not address:
        raise NoAddress(
            "Locket API Location not set. Please specify one with the '--locketAPILocation' flag or the"
            " 'LOCKET_API_LOCATION' environment variable."
        )
    if may_be_plain and scheme_of(environment.get("BBS_URL", "")) == "http":
        return _plain(flags, environment, address)
    return _with_certificates(flags, environment, address)


def _plain(flags: Flags, environment: Mapping[str, str], address: str) -> Target:
    return replace(
        NOBODY,
        address=address,
        timeout_s=_timeout_s(flags, environment),
        debug=environment.get("BBS_DEBUG", ""),
    )


def _with_certificates(flags: Flags, environment: Mapping[str, str], address: str) -> Target:
    skip_verify = flags.switch("skipCertVerify")
    word = environment.get("SKIP_CERT_VERIFY", "")
    if not flags.has("skipCertVerify") and word:
        try:
            skip_verify = parse_bool(word)
        except BadValue as error:
            raise Invalid(
                f"The value '{word}' is not a valid value for SKIP_CERT_VERIFY. Please specify one of the following valid"
                " boolean values: 1, t, T, TRUE, true, True, 0, f, F, FALSE, false, False"
            ) from error
    ca_file = _setting(flags, "caCertFile", environment, "CA_CERT_FILE")
    cert_file = _setting(flags, "clientCertFile", environment, "CLIENT_CERT_FILE")
    key_file = _setting(flags, "clientKeyFile", environment, "CLIENT_KEY_FILE")
    if not skip_verify:
        if not ca_file:
            raise Invalid("--caCertFile must be specified if using HTTPS and --skipCertVerify is not set")
        _check_readable("CA cert", ca_file)
    if not key_file or not cert_file:
        raise Invalid("--clientCertFile and --clientKeyFile must both be specified for TLS connections.")
    _check_readable("key", key_file)
    _check_readable("cert", cert_file)
    return Target(
        address=address,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        skip_verify=skip_verify,
        timeout_s=_timeout_s(flags, environment),
        debug=environment.get("BBS_DEBUG", ""),
    )


def _timeout_s(flags: Flags, environment: Mapping[str, str]) -> int:
    if "timeout" not in flags.defined:
        return 0
    timeout_s, text = flags.number("timeout"), environment.get("CFDOT_TIMEOUT", "")
    if not timeout_s and text:
        try:
            timeout_s = parse_int(text, bits=TIMEOUT_BITS, any_base=False)
        except BadValue as error:
            raise Usage(str(error)) from error
    return max(0, timeout_s)  # a negative one never comes, in Go


def _setting(flags: Flags, flag: str, environment: Mapping[str, str], variable: str) -> str:
    return flags.text(flag) or environment.get(variable, "")


def _check_readable(kind: str, path: str) -> None:
    """A directory can be opened, in Go."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        reason = f"open {path}: {os.strerror(error.errno or 0).lower()}"
        raise Invalid(f"{kind} file '{path}' doesn't exist or is not readable: {reason}") from error


def scheme_of(url: str) -> str | None:
    """The scheme in lower case, '' if there is none; ``None`` if Go's net/url would not take ``url`` for a URL at all."""
    if _CONTROL.search(url):
        return None
    rest, _, fragment = url.partition("#")
    if url.startswith(":") or not _escapes_are_whole(fragment):
        return None
    scheme = ""
    if match := _SCHEME.match(rest):
        scheme, rest = match[1].lower(), rest[match.end() :]
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        if scheme:
            return scheme  # what follows is opaque
        return None if ":" in rest.partition("/")[0] or not _escapes_are_whole(rest) else ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, _, path = rest[2:].partition("/")
        userinfo, at, host = authority.rpartition("@")
        if at and not (_USERINFO.fullmatch(userinfo) and _escapes_are_whole(userinfo)):
            return None
        if not (_BRACKETED_HOST if host.startswith("[") else _HOST).fullmatch(host):
            return None
        rest = path
    return scheme if _escapes_are_whole(rest) else None


def _escapes_are_whole(text: str) -> bool:
    return not _HALF_ESCAPE.search(text)


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_HALF_ESCAPE: Final = re.compile(r"%(?![0-9a-fA-F]{2})")
_USERINFO: Final = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*")
_HOST_CHARACTER: Final = (
    r"""(?:[A-Za-z0-9_.~!$&'()*+,;=\[\]<>"-]|[^\x00-\x7f]|%(?:25|[89a-fA-F][0-9a-fA-F]))"""
)
_HOST: Final = re.compile(rf"(?:{_HOST_CHARACTER}|:)*(?::[0-9]*)|{_HOST_CHARACTER}*")
_BRACKETED_HOST: Final = re.compile(
    rf"\[(?:{_HOST_CHARACTER}|:)*(?:%25(?:[^%\]]|%[0-9a-fA-F]{{2}})*)?\](?::[0-9]*)?"
)
