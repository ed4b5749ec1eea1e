"""What a server is told when it starts, of two kinds.

`Config` is ours, made by ``bbs serve`` from its flags. `UpstreamConfig` is upstream's JSON file, which ``bbs -config``
reads; `bbs.config.upstream` decodes it, `bbs.config.checks` and `bbs.config.cautions` say what is wrong with it.
Nothing below the server and the command line imports this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from bbs.config.errors import ConfigInvalid, ConfigUnreadable

if TYPE_CHECKING:
    from bbs.config.serving import Config, TaskSettings, local_keyring
    from bbs.config.upstream import UpstreamConfig

__all__ = ["Config", "ConfigInvalid", "ConfigUnreadable", "TaskSettings", "UpstreamConfig", "local_keyring"]

_HOMES: Final = {
    "Config": "serving",
    "TaskSettings": "serving",
    "local_keyring": "serving",
    "UpstreamConfig": "upstream",
}


def __getattr__(name: str) -> object:
    """Import on demand: `Config` needs the rooms whose settings it holds, half a second that upstream's file need not
    wait for.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
