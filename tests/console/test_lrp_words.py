"""Routes and events of an app as a person reads them."""

from typing import Any

import pytest

from bbs.client import Event, EventMessage
from bbs.console.lrp_events import in_words, process_guid_of
from bbs.console.lrp_routes import readable
from bbs.models import pb
from tests.console.apps import EVACUATING, row


def routed(**routes: bytes) -> pb.DesiredLRP:
    lrp = pb.DesiredLRP()
    for router, value in routes.items():
        lrp.routes.routes[router.replace("_", "-")] = value
    return lrp


@pytest.mark.parametrize(
    ("router", "value", "lines"),
    [
        (
            "cf-router",
            b'[{"hostnames":["a.example","b.example"],"port":8080},{"hostnames":["c"],"port":1}]',
            ["http a.example, b.example to port 8080", "http c to port 1"],
        ),
        ("tcp-router", b'[{"external_port":1024,"container_port":80}]', ["tcp 1024 to port 80"]),
        ("internal-router", b'[{"hostname":"a.internal"}]', ["internal a.internal"]),
        ("diego-ssh", b'{"container_port":2222,"private_key":"SECRET"}', ["ssh to port 2222"]),
        ("cf-router", b"null", []),
        ("cf-router", b"[]", []),
        ("another", b'{"token":"SECRET"}', ["another (18 bytes)"]),
        ("cf-router", b'["SECRET"]', ["cf-router (10 bytes that are no routes of this router)"]),
        ("cf-router", b'[{"port":1}]', ["cf-router (12 bytes that are no routes of this router)"]),
        ("tcp-router", b"SECRET", ["tcp-router (6 bytes that are no routes of this router)"]),
        ("diego-ssh", b"[" * 100_000, ["diego-ssh (100000 bytes that are no routes of this router)"]),
    ],
)
def test_routes(router: str, value: bytes, lines: list[str]) -> None:
    assert readable(routed(**{router: value})) == lines


def test_routes_are_in_order_of_their_routers() -> None:
    lrp = routed(tcp_router=b'[{"external_port":1,"container_port":2}]', diego_ssh=b'{"container_port":3}')
    assert readable(lrp) == ["ssh to port 3", "tcp 1 to port 2"]


def info(**fields: Any) -> pb.ActualLRPInfo:
    return pb.ActualLRPInfo(**fields)


KEY = pb.ActualLRPKey(process_guid="p", index=2)
ON_C1 = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c1")
DESIRED = pb.DesiredLRP(process_guid="p", instances=2)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (pb.DesiredLRPCreatedEvent(desired_lrp=DESIRED), "desired, with 2 instances"),
        (pb.DesiredLRPRemovedEvent(desired_lrp=DESIRED), "not desired any more"),
        (
            pb.DesiredLRPChangedEvent(
                before=DESIRED, after=pb.DesiredLRP(process_guid="p", instances=5, annotation="a")
            ),
            "desired: 2 instances become 5, annotation changed",
        ),
        (
            pb.DesiredLRPChangedEvent(before=DESIRED, after=DESIRED),
            "desired: written again, unchanged",
        ),
        (
            pb.ActualLRPInstanceCreatedEvent(actual_lrp=row(2, "UNCLAIMED")),
            "index 2: new, UNCLAIMED",
        ),
        (
            pb.ActualLRPInstanceRemovedEvent(actual_lrp=row(2, presence=EVACUATING)),
            "index 2: gone, was evacuating RUNNING on cell-1",
        ),
        (
            pb.ActualLRPInstanceChangedEvent(
                actual_lrp_key=KEY,
                actual_lrp_instance_key=ON_C1,
                before=info(state="CLAIMED"),
                after=info(state="RUNNING"),
            ),
            "index 2: RUNNING on c1 (was CLAIMED)",
        ),
        (
            pb.ActualLRPInstanceChangedEvent(
                actual_lrp_key=KEY,
                before=info(state="UNCLAIMED"),
                after=info(state="UNCLAIMED", placement_error="no room"),
            ),
            "index 2: UNCLAIMED: no room",
        ),
        (
            pb.ActualLRPCrashedEvent(
                actual_lrp_key=KEY, actual_lrp_instance_key=ON_C1, crash_count=3, crash_reason="exit 1"
            ),
            "index 2: crash 3 on c1: exit 1",
        ),
    ],
)
def test_events(message: EventMessage, words: str) -> None:
    event = Event("some_event", message)
    assert (in_words(event), process_guid_of(event)) == (words, "p")


def test_an_event_that_is_about_no_app() -> None:
    event = Event("task_removed", pb.TaskRemovedEvent())
    assert (in_words(event), process_guid_of(event)) == ("task_removed", "")
