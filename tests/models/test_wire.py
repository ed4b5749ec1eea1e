import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from bbs.models import pb
from bbs.models.errors import InvalidRequest
from bbs.models.wire import decode, encode, frame, varint

CLAIM = pb.ClaimActualLRPRequest(
    process_guid="p", index=3, actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c")
)
UNKNOWN_FIELD = bytes.fromhex("aa0601ff")  # number 101, one byte
SETUP_WITH_WRONG_USER = pb.DesiredLRP(setup=pb.Action.FromString(b"\x1a\x02\x30\x01"))  # run.user as a number


def test_an_empty_body_is_an_all_default_message() -> None:
    assert decode(pb.ClaimActualLRPRequest, b"") == pb.ClaimActualLRPRequest()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a\x05p", id="cut short"),
        pytest.param(b"\x00", id="field number zero"),
        pytest.param(b"\x0c", id="end of a group that never began"),
        pytest.param(b"\x07", id="wire type 7"),
        pytest.param(b"\xff" * 11, id="endless varint"),
        pytest.param(b"\x0a\x01\xff", id="not UTF-8"),
        pytest.param(b"\x08\x01", id="string as a number"),
        pytest.param(b"\x12\x01p", id="number as a string"),
        pytest.param(b"\x1a\x02\x08\x01", id="nested string as a number"),
        pytest.param(CLAIM.SerializeToString() + UNKNOWN_FIELD + b"\x08\x01", id="behind good fields"),
    ],
)
def test_what_go_cannot_read_is_refused_in_the_canonical_words(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^the request received is invalid$"):
        decode(pb.ClaimActualLRPRequest, data)


@pytest.mark.parametrize(
    ("message_class", "data"),
    [
        pytest.param(pb.DesiredLRPsResponse, frame(2, SETUP_WITH_WRONG_USER.SerializeToString()), id="list"),
        pytest.param(pb.DesiredLRPUpdate, frame(4, b"\x0a\x01k" + frame(2, b"\x08\x01")), id="map"),
    ],
)
def test_a_wrong_wire_type_is_found_however_deep(message_class: type[Message], data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(message_class, data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(UNKNOWN_FIELD + CLAIM.SerializeToString(), id="before"),
        pytest.param(CLAIM.SerializeToString() + UNKNOWN_FIELD, id="behind"),
        pytest.param(CLAIM.SerializeToString() + frame(3, UNKNOWN_FIELD), id="nested, merged"),
    ],
)
def test_unknown_fields_are_dropped(data: bytes) -> None:
    decoded = decode(pb.ClaimActualLRPRequest, data)

    assert decoded.SerializeToString() == CLAIM.SerializeToString()


@pytest.mark.parametrize("data", [b"\x70\x01\x70\x02", b"\x72\x02\x01\x02"], ids=["unpacked", "packed"])
def test_repeated_numbers_are_read_in_both_forms_and_written_unpacked(data: bytes) -> None:
    decoded = decode(pb.DesiredLRP, data)

    assert list(decoded.ports) == [1, 2]
    assert encode(decoded) == b"\x70\x01\x70\x02"


def test_an_unknown_enum_number_is_kept() -> None:
    assert encode(decode(pb.MetricTagValue, b"\x10\x07")) == b"\x10\x07"


EMPTY_LRP = "0a0012001a004a00"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (pb.ActualLRP(), EMPTY_LRP),
        (pb.ActualLRPInfo(), "1a004a00"),
        (pb.DesiredLRPRunInfo(), "0a00"),
        (pb.DesiredLRPSchedulingInfo(), "0a0022002a003200"),
        (pb.DesiredLRP(), ""),
        (pb.ActualLRPsResponse(actual_lrps=[pb.ActualLRP()]), "1208" + EMPTY_LRP),
        (pb.ActualLRPGroupsResponse(actual_lrp_groups=[pb.ActualLRPGroup(instance=pb.ActualLRP())]),
         "120a" + "0a08" + EMPTY_LRP),
        (pb.ActualLRPGroup(), ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Message) else "",
)  # fmt: skip
def test_what_go_holds_by_value_is_always_written(message: Message, expected: str) -> None:
    assert encode(message).hex() == expected


def test_equal_messages_have_equal_bytes_whatever_the_order_of_their_maps() -> None:
    tags = {f"tag-{number}": "x" for number in range(50)}

    forwards = pb.ActualLRP(metric_tags=tags)
    backwards = pb.ActualLRP(metric_tags=dict(reversed(tags.items())))

    assert encode(forwards) == encode(backwards)


@given(st.lists(st.binary(max_size=300)))
def test_framed_elements_joined_are_the_message(details: list[bytes]) -> None:
    lrps = [pb.ActualLRP(crash_reason=detail.hex()) for detail in details]

    joined = b"".join(frame(2, encode(lrp)) for lrp in lrps)

    assert joined == pb.ActualLRPsResponse(actual_lrps=lrps).SerializeToString()


@pytest.mark.parametrize(
    ("value", "data"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**21, "80808001")]
)
def test_varint(value: int, data: str) -> None:
    assert varint(value).hex() == data


@given(
    st.binary(max_size=40),
    st.sampled_from([pb.ClaimActualLRPRequest, pb.DesireLRPRequest, pb.StartActualLRPRequest]),
)
def test_any_bytes_are_either_read_or_refused(data: bytes, message_class: type[Message]) -> None:
    try:
        message = decode(message_class, data)
    except InvalidRequest:
        return
    assert decode(message_class, encode(message)) == message
