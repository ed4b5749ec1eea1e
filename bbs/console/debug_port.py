"""Pages of the BBS's debug port, for commands that show what only the server itself knows."""

from typing import Final

from bbs.client import http_get

OK: Final = 200


class NoPage(Exception):
    """The port answers, but not with the page. The text says which, and how."""


def debug_url(address: str, path: str) -> str:
    """Of HOST:PORT, or of a URL with or without the path; '' of ''."""
    if not address:
        return ""
    url = address if "://" in address else f"http://{address}"
    return url if url.endswith(path) else f"{url.rstrip('/')}{path}"


async def fetch(url: str, *, timeout_s: float) -> bytes:
    """
    Raises:
      NoPage: another status than 200.
      TransportError: nobody answers.
    """
    status, body = await http_get(url, ssl_context=None, timeout_s=timeout_s)
    if status != OK:
        raise NoPage(f"{url} answers {status}")
    return body
