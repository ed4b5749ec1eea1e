"""What every version of upstream's server leaves in its tables, on either kind of database, and what becomes of it."""

import json
from collections.abc import Iterator
from typing import Any

from bbs.models import pb
from bbs.models.actual_lrp import ActualLRPState, Presence
from bbs.models.desired_lrp import MetricTag
from bbs.store.codecs.envelope import ENVELOPE
from bbs.store.tables import Tables
from tests.records import desired_message, net_info, task_definition
from tests.store.worlds import KEYRING

ROUTES = '{"cf-router":[{"hostnames":["a.x"],"port":8080}]}'
ROUTES_SEALED, METRIC_TAGS_COLUMN = 1474993971, 1722634733
PRESENCE, INTERNAL_ROUTES, METRIC_TAGS, ROUTABLE = 1529530809, 1643660541, 1676360874, 1686692176


def run_info() -> bytes:
    message = pb.DesiredLRPRunInfo(action=desired_message().action, start_timeout_ms=7)
    message.metric_tags["source_id"].static = "app"
    message.metric_tags["instance_id"].dynamic = pb.MetricTagValue.INDEX
    return message.SerializeToString()


def rows_of_version(version: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a server of that version would have written: tables, and the columns of a row each."""
    tag: dict[str, object] = {"modification_tag_epoch": "e", "modification_tag_index": 3}
    seal = KEYRING.seal
    yield "domains", {"domain": "cf-apps", "expire_time": 2**62}
    later: dict[str, object] = {}
    if version >= METRIC_TAGS_COLUMN:
        later["metric_tags"] = seal(b'{"source_id":{"static":"app"},"instance_id":{"dynamic":"INDEX"}}')
    yield (
        "desired_lrps",
        dict(
            process_guid="p",
            domain="cf-apps",
            log_guid="log",
            annotation="",
            instances=2,
            memory_mb=128,
            disk_mb=512,
            rootfs="preloaded:cflinuxfs4",
            routes=seal(ROUTES.encode()) if version >= ROUTES_SEALED else ROUTES,
            volume_placement=seal(ENVELOPE),
            run_info=seal(ENVELOPE + run_info()),
            **tag,
            **later,
        ),
    )
    for index, evacuating, state in ((0, False, "RUNNING"), (0, True, "RUNNING"), (1, False, "UNCLAIMED")):
        columns: dict[str, object] = {"evacuating": evacuating}
        if version >= PRESENCE:
            columns["presence"] = int(evacuating)
        if version >= INTERNAL_ROUTES:
            columns["internal_routes"] = seal(b'[{"hostname":"r"}]')
        if version >= METRIC_TAGS:
            columns["metric_tags"] = seal(b'{"k":"v"}')
        if version >= ROUTABLE:
            columns["routable"] = state == "RUNNING"
        yield (
            "actual_lrps",
            dict(
                process_guid="p",
                instance_index=index,
                domain="cf-apps",
                state=state,
                instance_guid="a" if state == "RUNNING" else "",
                cell_id="c1" if state == "RUNNING" else "",
                since=5,
                net_info=seal(ENVELOPE + (net_info() if state == "RUNNING" else b"")),
                crash_count=2,
                crash_reason="x" * 255,
                **tag,
                **columns,
            ),
        )
    definition = task_definition(completion_callback_url="http://x").SerializeToString()
    yield (
        "tasks",
        {
            "guid": "t",
            "domain": "cf-tasks",
            "created_at": 1,
            "updated_at": 2,
            "state": 1,
            "task_definition": seal(ENVELOPE + definition),
        },
    )


def expect_rows_of(version: int, tables: Tables) -> None:
    """All of it is there, as the present version has it."""
    desired = tables.desired_lrps.rows["p"]
    assert dict(desired.routes or ()) == {"cf-router": json.loads(ROUTES) and ROUTES[13:-1].encode()}
    assert desired.metric_tags == (
        ("instance_id", MetricTag(dynamic=pb.MetricTagValue.INDEX)),
        ("source_id", MetricTag(static="app")),
    )
    assert desired.update_strategy == 0
    rows = tables.actual_lrps.rows_at("p", 0)
    assert rows.ordinary is not None
    assert rows.evacuating is not None
    assert rows.evacuating.presence is Presence.EVACUATING
    assert rows.ordinary.routable is True
    assert rows.ordinary.net_info == net_info()
    assert rows.ordinary.internal_routes == (("r",) if version >= INTERNAL_ROUTES else ())
    assert rows.ordinary.metric_tags == ((("k", "v"),) if version >= METRIC_TAGS else ())
    waiting = tables.actual_lrps.rows_at("p", 1).ordinary
    assert waiting is not None
    assert waiting.state is ActualLRPState.UNCLAIMED
    assert waiting.routable is False
    assert (waiting.crash_count, waiting.tag.index) == (2, 3)
    assert tables.tasks.rows["t"].completion_callback_url == "http://x"
    assert "cf-apps" in tables.domains.rows
