"""The settings of ``bbs serve``: one frozen record, made from its flags."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bbs.peers.opened import AuctioneerSettings
from bbs.process.settings import Settings
from bbs.tls.contexts import TLSFiles

DASHBOARDS_ADDRESS: Final = "127.0.0.1:17017"
"""The debug address for the dashboard's sake: upstream's default. If somebody else has the port, any will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Reps register at ``locket_listen_address``, ``host:port`` like the addresses in ``settings``. Without a
    ``database_url`` the server runs a Postgres of its own in ``data_dir``, without ``tls`` it speaks plain HTTP, and without
    an ``auctioneer`` auctions are only remembered, for a while.
    """

    settings: Settings = field(default_factory=lambda: Settings(listen_address="127.0.0.1:8889"))
    locket_listen_address: str = "127.0.0.1:8891"
    data_dir: Path = Path("bbs-data")
    database_url: str | None = None
    tls: TLSFiles | None = None
    auctioneer: AuctioneerSettings | None = None
