"""Apps as a BBS tells of them, for tests of what is made of it."""

from typing import Any, Final

from bbs.models import pb
from bbs.models.actual_lrp import Presence
from bbs.words.app import App

S: Final = 10**9
NOW_NS: Final = 10**18


def row(
    index: int = 0, state: str = "RUNNING", *, ago_s: int = 60, cell: str = "", **fields: Any
) -> pb.ActualLRP:
    """A row that is as it is since ``ago_s``. One that should have a cell is on cell-1."""
    cell = cell or ("cell-1" if state in ("CLAIMED", "RUNNING") else "")
    message = pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=index, domain="d"),
        state=state,
        since=NOW_NS - ago_s * S,
        routable=True,
    )
    message.actual_lrp_instance_key.cell_id = cell
    message.MergeFrom(pb.ActualLRP(**fields))
    return message


def app(
    *rows: pb.ActualLRP,
    instances: int | None = 1,
    cells: tuple[str, ...] = ("cell-1", "cell-2"),
    fresh: tuple[str, ...] = ("d",),
    **desired: Any,
) -> App:
    """``instances``: ``None`` if nobody desires it."""
    return App(
        process_guid="p",
        desired=None
        if instances is None
        else pb.DesiredLRP(process_guid="p", domain="d", instances=instances, **desired),
        rows=rows,
        fresh_domains=frozenset(fresh),
        cells={cell: pb.CellPresence(cell_id=cell, zone="z1") for cell in cells},
        seen_ns=NOW_NS,
    )


SUSPECT: Final[Any] = int(Presence.SUSPECT)
EVACUATING: Final[Any] = int(Presence.EVACUATING)
