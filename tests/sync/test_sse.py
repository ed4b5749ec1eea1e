"""The bytes of an event stream (spec: events.md §2)."""

import pytest

from bbs.models import pb
from bbs.models.wire import encode
from bbs.sync.hubs.sse import event_tail, numbered


def test_an_event_is_written_as_upstream_writes_it() -> None:
    event = pb.ActualLRPInstanceCreatedEvent(trace_id="tr")
    event.actual_lrp.state = "UNCLAIMED"
    event.actual_lrp.since = 1
    event.actual_lrp.actual_lrp_key.process_guid = "p"
    event.actual_lrp.actual_lrp_key.domain = "d"

    text = numbered([event_tail("actual_lrp_instance_created", encode(event))], first_id=0)

    assert (
        text
        == b"id: 0\nevent: actual_lrp_instance_created\ndata: ChsKBgoBcBoBZBIAGgAyCVVOQ0xBSU1FREABSgASAnRy\n\n"
    )
    assert len(text) == 0x5D


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        pytest.param(b"", b"data", id="an all-default message: no colon"),
        pytest.param(b"\x08\x01", b"data: CAE=", id="padded"),
        pytest.param(b"\xff" * 100, b"data: " + b"/" * 133 + b"w==", id="one line, however long"),
    ],
)
def test_the_payload_is_one_line_of_base64(payload: bytes, line: bytes) -> None:
    assert event_tail("task_removed", payload) == b"\nevent: task_removed\n" + line + b"\n\n"


def test_numbers_go_on_where_the_last_text_ended() -> None:
    assert numbered([b"-a", b"-b"], first_id=9) == b"id: 9-aid: 10-b"
