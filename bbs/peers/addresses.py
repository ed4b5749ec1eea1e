"""Where a request goes: a URL, taken apart as far as sending it takes.

httpx understands any URL and takes 60 us for it. A rep is called with a URL of its own for each instance, but all of them
begin alike, and what follows is plain; so what httpx makes of the beginning is kept, and a plain path is taken as it is.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import httpx

from bbs.peers.connection import Origin

BEGINNINGS_REMEMBERED_MAX: Final = 4096
"""Beginnings of URLs whose meaning is kept: more than there are cells."""

PLAIN_URL_MAX: Final = 4096
"""Characters. Whether longer ones are too long is httpx's to say."""

_PLAIN_URL: Final = re.compile(r"(https?://[-.0-9a-z]+(?::[0-9]{1,5})?)((?:/(?!\.)[-._~0-9A-Za-z]*)+)")
"""A path of characters that nobody escapes, and no part of it is ``.`` or ``..``: it is sent as it stands."""


class URLUnreadable(ValueError):
    """The text is no URL."""


@dataclass(frozen=True, slots=True)
class Address:
    """``url`` is all of it, ``told`` is it without user and password, ``target`` what the server gets to hear of it.

    ``host`` and ``authorization`` are the values of the headers of these names; the latter is '' if there is none.
    """

    url: str
    told: str
    origin: Origin
    target: str
    host: str
    authorization: str = ""

    @classmethod
    def parsed(cls, url: str) -> "Address":
        """
        Raises:
          URLUnreadable: it is none.
        """
        if len(url) <= PLAIN_URL_MAX and (match := _PLAIN_URL.fullmatch(url)):
            beginning, target = match.groups()
            try:
                base = _address_of_beginning(beginning)
            except URLUnreadable:
                pass  # what is wrong is said of the whole
            else:
                whole = base.url + target
                return cls(whole, whole, base.origin, target, base.host)
        return cls.parsed_by_httpx(url)

    @classmethod
    def parsed_by_httpx(cls, url: str) -> "Address":
        """As `parsed`, which makes nothing else of it."""
        try:
            return cls.of(httpx.URL(url))
        except (httpx.InvalidURL, ValueError) as error:
            raise URLUnreadable(str(error)) from error

    @classmethod
    def of(cls, url: httpx.URL) -> "Address":
        told, authorization = url, ""
        if url.userinfo:
            told = url.copy_with(userinfo=b"")
            given = f"{url.username}:{url.password}".encode()
            authorization = f"Basic {b64encode(given).decode()}"
        return cls(
            url=str(url),
            told=str(told),
            origin=Origin(
                url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)
            ),
            target=url.raw_path.decode("ascii"),
            host=url.netloc.decode("ascii"),
            authorization=authorization,
        )

    @property
    def host_port(self) -> str:
        return f"{httpx.URL(self.url).host}:{self.origin.port}"


@lru_cache(BEGINNINGS_REMEMBERED_MAX)
def _address_of_beginning(url: str) -> Address:
    return Address.parsed_by_httpx(url)
