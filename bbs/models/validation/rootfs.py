"""Whether a text names a root file system: it must be a URL with a scheme, as Go's ``url.Parse`` understands URLs."""

import re
from typing import Final

from bbs.models.validation.fields import LOOKED_AT_CHARACTERS_MAX

SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
BAD_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")
CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
USER: Final = re.compile(r"[A-Za-z0-9._~:!$&'()*+,;=%@-]*")
HOST: Final = re.compile(r"""[A-Za-z0-9_.~!$&'()*+,;=:\[\]<>"\u0080-\U0010ffff-]*""")
PORT: Final = re.compile("(:[0-9]*)?")


def is_rootfs(text: str) -> bool:
    """Whether Go would parse ``text``. The steps are Go's, in its order (spec: validation.md §4.4): fragment, scheme,
    query, then authority and path.
    """
    if len(text) > LOOKED_AT_CHARACTERS_MAX:
        return False
    url, _, fragment = text.partition("#")
    scheme = SCHEME.match(url)
    if BAD_ESCAPE.search(fragment) or CONTROL.search(url) or not scheme:
        return False
    rest, _, _ = url[scheme.end() :].partition("?")
    if not rest.startswith("/"):
        return True
    if rest.startswith("//"):
        authority, _, path = rest[2:].partition("/")
        return _is_authority(authority) and not BAD_ESCAPE.search(path)
    return not BAD_ESCAPE.search(rest)


def _is_authority(authority: str) -> bool:
    user, _, host = authority.rpartition("@")
    if not USER.fullmatch(user) or BAD_ESCAPE.search(user) or not HOST.fullmatch(host):
        return False
    if "[" in host:
        _, closed, port = host.rpartition("]")
        return bool(closed) and PORT.fullmatch(port) is not None
    _, colon, port = host.rpartition(":")
    return not colon or PORT.fullmatch(colon + port) is not None
