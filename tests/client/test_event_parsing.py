"""Stream text to raw events to typed ones (spec: events.md §5, §10)."""

from base64 import b64encode
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.client import Event, InvalidEventPayload, UnrecognizedEventType
from bbs.client._events import MESSAGES, EventMessage, decode_base64, read_event
from bbs.client._sse import EventParser, RawEvent
from bbs.models import pb

SAMPLE = b"id: 0\nevent: actual_lrp_instance_created\ndata: ChsKBgoBcBoBZBIAGgAyCVVOQ0xBSU1FREABSgASAnRy\n\n"


@pytest.mark.parametrize(
    ("text", "events"),
    [
        pytest.param(
            b"id: 7\nevent: x\ndata: abc\n\n", [RawEvent("7", "x", b"abc")], id="as the server writes it"
        ),
        pytest.param(
            b"id:7\r\nevent:x\r\ndata:abc\r\n\r\n", [RawEvent("7", "x", b"abc")], id="CR LF, no blank"
        ),
        pytest.param(b"data:  a \n\n", [RawEvent("", "", b" a ")], id="one leading blank goes"),
        pytest.param(b"data: a\rb\n\n", [RawEvent("", "", b"a\rb")], id="CR alone ends no line"),
        pytest.param(b"data\n\n", [RawEvent("", "", b"")], id="data without colon"),
        pytest.param(b"data: a:b\n\n", [RawEvent("", "", b"a:b")], id="the first colon counts"),
        pytest.param(b"data: a\ndata: b\n\n", [RawEvent("", "", b"a\nb")], id="several data lines"),
        pytest.param(b": hello\ndata: a\n:\n\n", [RawEvent("", "", b"a")], id="comments"),
        pytest.param(b"colour: red\ndata: a\n\n", [RawEvent("", "", b"a")], id="unknown fields"),
        pytest.param(
            b"event: x\n\n\ndata: a\n\n", [RawEvent("", "x", b"a")], id="no data, no event; its fields stay"
        ),
        pytest.param(
            b"id: 7\nevent: x\ndata: a\n\ndata: b\n\n",
            [RawEvent("7", "x", b"a"), RawEvent("7", "", b"b")],
            id="the id stays for later events, the name does not",
        ),
        pytest.param(b"retry: 250\ndata: a\n\n", [RawEvent("", "", b"a", 0.25)], id="retry"),
        pytest.param(b"retry: soon\ndata: a\n\n", [RawEvent("", "", b"a")], id="retry, not a number"),
        pytest.param(b"data: a\n", [], id="unfinished event"),
        pytest.param(b"data: a\n\ndata: b", [RawEvent("", "", b"a")], id="unfinished line"),
        pytest.param(
            b"data: " + b"x" * 500_000 + b"\n\n", [RawEvent("", "", b"x" * 500_000)], id="a long line"
        ),
    ],
)
def test_stream_text(text: bytes, events: list[RawEvent]) -> None:
    assert EventParser().feed(text) == events
    parser = EventParser()
    step = max(1, len(text) // 1000)
    pieces = [text[start : start + step] for start in range(0, len(text), step)]
    assert [event for piece in pieces for event in parser.feed(piece)] == events


@given(
    st.lists(
        st.sampled_from([b"data: a", b"data", b"id: 1", b"id", b"event: x", b": c", b"retry: 5", b""]),
        max_size=20,
    ),
    st.lists(st.integers(0, 200), max_size=5),
)
def test_where_the_pieces_are_cut_makes_no_difference(lines: list[bytes], cuts: list[int]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parser = EventParser()

    events = [event for start, end in pairwise(bounds) for event in parser.feed(text[start:end])]

    assert events == EventParser().feed(text)


def test_the_sample_of_upstream() -> None:
    [raw] = EventParser().feed(SAMPLE)

    event = read_event(raw)

    assert isinstance(event.message, pb.ActualLRPInstanceCreatedEvent)
    assert event.message.actual_lrp.actual_lrp_key.process_guid == "p"
    assert event.message.trace_id == "tr"


def _lrp(instance_guid: str, state: str = "RUNNING") -> pb.ActualLRP:
    return pb.ActualLRP(
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid=instance_guid, cell_id="c"), state=state
    )


DESIRED, OTHER_DESIRED = pb.DesiredLRP(process_guid="p"), pb.DesiredLRP(process_guid="q")
INSTANCE_KEY = pb.ActualLRPInstanceKey(instance_guid="i")
RUNNING = pb.ActualLRPGroup(instance=_lrp("i"), evacuating=_lrp("e"))
WAITING = pb.ActualLRPGroup(instance=_lrp("i", "CLAIMED"), evacuating=_lrp("e"))
CRASHED = pb.ActualLRPGroup(instance=_lrp("i", "CRASHED"), evacuating=_lrp("e"))
TASK = pb.Task(task_guid="t")


@pytest.mark.parametrize(
    ("name", "message", "key"),
    [
        ("desired_lrp_created", pb.DesiredLRPCreatedEvent(desired_lrp=DESIRED, trace_id="tr"), "p"),
        ("desired_lrp_changed", pb.DesiredLRPChangedEvent(before=DESIRED, after=OTHER_DESIRED), "p"),
        ("desired_lrp_removed", pb.DesiredLRPRemovedEvent(desired_lrp=DESIRED), "p"),
        ("actual_lrp_created", pb.ActualLRPCreatedEvent(actual_lrp_group=RUNNING), "i"),
        ("actual_lrp_created", pb.ActualLRPCreatedEvent(actual_lrp_group=WAITING), "e"),
        ("actual_lrp_changed", pb.ActualLRPChangedEvent(before=CRASHED, after=WAITING), "i"),
        ("actual_lrp_changed", pb.ActualLRPChangedEvent(after=RUNNING), ""),
        ("actual_lrp_removed", pb.ActualLRPRemovedEvent(actual_lrp_group=WAITING), "e"),
        ("actual_lrp_crashed", pb.ActualLRPCrashedEvent(actual_lrp_instance_key=INSTANCE_KEY), "i"),
        ("actual_lrp_instance_created", pb.ActualLRPInstanceCreatedEvent(actual_lrp=_lrp("i")), "i"),
        (
            "actual_lrp_instance_changed",
            pb.ActualLRPInstanceChangedEvent(actual_lrp_instance_key=INSTANCE_KEY),
            "i",
        ),
        ("actual_lrp_instance_removed", pb.ActualLRPInstanceRemovedEvent(actual_lrp=_lrp("i")), "i"),
        ("task_created", pb.TaskCreatedEvent(task=TASK), "t"),
        ("task_changed", pb.TaskChangedEvent(before=TASK, after=pb.Task(task_guid="u")), "t"),
        ("task_removed", pb.TaskRemovedEvent(task=TASK), "t"),
    ],
)
def test_an_event_is_read_by_its_name_and_knows_what_it_is_about(
    name: str, message: EventMessage, key: str
) -> None:
    event = read_event(RawEvent("0", name, b64encode(message.SerializeToString())))

    assert event == Event(name, message)
    assert event.key == key


def test_every_kind_of_event_is_known() -> None:
    assert {cls.__name__ for cls in MESSAGES.values()} == {
        name for name in dir(pb) if name.endswith("Event") and name != "Event"
    }


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "event with no data", id="no data"),
        pytest.param(b"!AAA", "event with no data", id="not base64 from the start"),
        pytest.param(b"AAA", "event with no data", id="less than a group"),
        pytest.param(b"AAAA!AAA", "illegal base64 data at input byte 4", id="a wrong character"),
        pytest.param(
            b"AAAAA*AA", "illegal base64 data at input byte 5", id="a wrong character within a group"
        ),
        pytest.param(b"AAAAAA", "illegal base64 data at input byte 4", id="an unfinished group"),
        pytest.param(b"AA==AAAA", "illegal base64 data at input byte 4", id="more behind the padding"),
        pytest.param(b"/////w==", "Error parsing message", id="not this message"),
    ],
)
def test_unreadable_payloads(data: bytes, text: str) -> None:
    with pytest.raises(InvalidEventPayload) as raised:
        read_event(RawEvent("0", "task_created", data))

    assert str(raised.value).startswith(f"invalid protobuf payload of type task_created: {text}")


def test_a_kind_of_event_to_come() -> None:
    with pytest.raises(UnrecognizedEventType, match=r"^unrecognized event type$"):
        read_event(RawEvent("0", "task_moved", b"CAE="))


def test_a_kind_of_event_to_come_without_payload_is_first_of_all_without_payload() -> None:
    with pytest.raises(
        InvalidEventPayload, match=r"^invalid protobuf payload of type task_moved: event with no data$"
    ):
        read_event(RawEvent("0", "task_moved", b""))


@given(st.binary(), st.integers(1, 76))
def test_line_breaks_within_base64_do_not_matter(payload: bytes, width: int) -> None:
    encoded = b64encode(payload)
    broken = b"\r\n".join(encoded[start : start + width] for start in range(0, len(encoded), width))

    assert decode_base64(broken) == payload
