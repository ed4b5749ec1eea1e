"""One app as a person reads it. Imported only where that is wanted, since rich takes its time to load."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bbs.cfdot.columns import ACTUAL_LRP, Column, harmless, limit
from bbs.cfdot.people import facts, table_of
from bbs.console.lrp_routes import readable
from bbs.models import pb
from bbs.words.app import App
from bbs.words.reasons import headline, is_as_desired, reasons, told

REASONS_MAX: Final = 30
"""Lines of reasons. What many instances share is one line, so more are seldom of use to a reader; JSON has them all."""

INDENTED: Final = (0, 0, 0, 2)

NOT_SHOWN: Final = ("PROCESS GUID", "WHY", "ZONE")
"""The guid is the title, and why is told in words."""


def view(app: App, *, wide: bool) -> Sequence[RenderableType]:
    """From the top: what it is, how it stands, what is desired, what there is, and why that is not the same."""
    found = reasons(app)
    good = is_as_desired(found) and app.is_known
    parts: list[RenderableType] = [
        Text(harmless(app.process_guid), style="bold"),
        Text(headline(app), style="green" if good else "bold yellow"),
    ]
    if app.desired is not None:
        parts += ["", _desired(app, app.desired, wide=wide)]
    if app.rows:
        parts += ["", table_of(_instance_columns(app, wide=wide), app.rows, app.seen_ns)]
    if found:
        lines = list(told(found))
        parts += ["", Text("Note" if is_as_desired(found) else "Not as desired", style="bold")]
        parts += [Padding(Text(harmless(line)), INDENTED) for line in islice(lines, REASONS_MAX)]
        if len(lines) > REASONS_MAX:
            parts.append(
                Padding(Text(f"and {len(lines) - REASONS_MAX} more lines; -o json has them all"), INDENTED)
            )
    return parts


def _instance_columns(app: App, *, wide: bool) -> Sequence[Column]:
    zone = Column("ZONE", lambda lrp, _: _zone(app, lrp))
    crash = Column("LAST CRASH", lambda lrp, _: lrp.crash_reason)
    error = Column("PLACEMENT ERROR", lambda lrp, _: lrp.placement_error)
    address = Column("ADDRESS", lambda lrp, _: _address(lrp))
    changes = Column("CHANGES", lambda lrp, _: str(lrp.modification_tag.index), wide=True)
    columns: list[Column] = []
    for column in ACTUAL_LRP:
        if column.title == "ADDRESS":
            columns += [address, changes]
        elif column.title not in NOT_SHOWN:
            columns.append(column)
        if column.title == "CELL":
            columns.append(zone)
        if column.title == "CRASHES":
            columns += [
                each
                for each in (crash, error)
                if wide or any(each.cell(lrp, app.seen_ns) for lrp in app.rows)
            ]
    return [column for column in columns if wide or not column.wide or column is address]


def _zone(app: App, lrp: pb.ActualLRP) -> str:
    """As its cell said when it started; before that, as the cell says of itself."""
    cell = app.cells.get(lrp.actual_lrp_instance_key.cell_id)
    return lrp.availability_zone or (cell.zone if cell is not None else "")


def _address(lrp: pb.ActualLRP) -> str:
    """Where it is reached from outside, with the ports of the host."""
    net = lrp.actual_lrp_net_info
    ports = ",".join(str(port.host_port or port.host_tls_proxy_port) for port in net.ports)
    return f"{net.address}:{ports}" if ports else net.address


def _desired(app: App, lrp: pb.DesiredLRP, *, wide: bool) -> Table:
    fresh = "fresh" if lrp.domain in app.fresh_domains else "not fresh"
    lines = [
        ("instances", str(lrp.instances)),
        ("memory", limit(lrp.memory_mb)),
        ("disk", limit(lrp.disk_mb)),
        ("rootfs", lrp.root_fs),
        ("domain", f"{lrp.domain} ({fresh})"),
        *_titled("routes", readable(lrp)),
        *_titled("placement tags", [", ".join(lrp.PlacementTags)] if lrp.PlacementTags else []),
        *_titled("volumes", [_mount(mount) for mount in lrp.volume_mounts]),
        *_titled("annotation", [lrp.annotation] if lrp.annotation else []),
        *(("log guid", lrp.log_guid) for _ in range(wide)),
    ]
    return facts(lines)


def _titled(title: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(title if number == 0 else "", line) for number, line in enumerate(lines)]


def _mount(mount: pb.VolumeMount) -> str:
    return f"{mount.driver} at {mount.container_dir} ({mount.mode})"
