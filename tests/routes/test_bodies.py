"""What a body of any size and content costs, and what of it is refused before protobuf gets to see it."""

from types import TracebackType

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from bbs.http.endpoints import Call
from bbs.models import pb
from bbs.models.errors import InvalidRequest
from bbs.models.validation import violations
from bbs.models.wire import frame
from bbs.routes.app_guids import like
from bbs.routes.bodies import (
    LARGE_BYTES_MAX,
    READ_AT_ONCE_BYTES_MAX,
    READ_AT_ONCE_FIELDS_MAX,
    SMALL_BYTES_MAX,
    TINY_BYTES_MAX,
    can_be_read_at_once,
    must_not_be_too_large,
    must_not_have_too_many_fields,
)
from tests.memory import alive, without_collection
from tests.records import desired_message
from tests.routes.conftest import Server
from tests.waiting import wait_until

EGRESS_RULES = pb.DesiredLRP.DESCRIPTOR.fields_by_name["egress_rules"].number
PORTS = pb.DesiredLRP.DESCRIPTOR.fields_by_name["ports"].number


def desire(*, of: bytes) -> bytes:
    return frame(1, of)


@pytest.mark.parametrize(
    ("request_class", "bytes_max"),
    [
        (pb.DesiredLRPByProcessGuidRequest, SMALL_BYTES_MAX),
        (pb.StartActualLRPRequest, SMALL_BYTES_MAX),
        (pb.EventsByCellId, SMALL_BYTES_MAX),
        (pb.DesireLRPRequest, LARGE_BYTES_MAX),
        (pb.CompleteTaskRequest, LARGE_BYTES_MAX),
    ],
)
def test_the_largest_body(request_class: type[Message], bytes_max: int) -> None:
    must_not_be_too_large(request_class, bytes(bytes_max))
    with pytest.raises(InvalidRequest, match="more than"):
        must_not_be_too_large(request_class, bytes(bytes_max + 1))


@pytest.mark.parametrize(
    ("request_class", "body", "fields"),
    [
        pytest.param(pb.DesireLRPRequest, b"", 0, id="nothing"),
        pytest.param(pb.DesireLRPRequest, desire(of=b""), 1, id="an empty LRP"),
        pytest.param(pb.DesireLRPRequest, desire(of=frame(EGRESS_RULES, b"") * 7), 8, id="empty messages"),
        pytest.param(
            pb.DesireLRPRequest,
            desire(of=frame(EGRESS_RULES, frame(1, b"tcp")) * 7),
            15,
            id="messages inside",
        ),
        pytest.param(pb.DesireLRPRequest, desire(of=frame(PORTS, b"\x01" * 9)), 11, id="packed numbers"),
        pytest.param(pb.DesireLRPRequest, desire(of=b"\xf8\x3f\x01" * 7), 8, id="unknown fields"),
        pytest.param(pb.DesireLRPRequest, desire(of=frame(1, b"\x0a\x00" * 9)), 2, id="a text is one"),
        pytest.param(pb.ActualLRPsByProcessGuidsRequest, frame(1, b"guid") * 9, 9, id="texts"),
    ],
)
def test_fields_are_counted_wherever_they_are(request_class: type[Message], body: bytes, fields: int) -> None:
    request_class.FromString(body)  # so it is one

    must_not_have_too_many_fields(request_class, body, most=fields)
    if fields:
        with pytest.raises(InvalidRequest, match=f"more than {fields - 1} fields"):
            must_not_have_too_many_fields(request_class, body, most=fields - 1)


@given(st.binary(max_size=60))
def test_what_is_no_message_is_left_to_the_decoder(body: bytes) -> None:
    must_not_have_too_many_fields(pb.DesireLRPRequest, body)


def test_a_real_lrp_is_read_at_once() -> None:
    lrp = desired_message(
        environment_variables=[pb.EnvironmentVariable(name=f"V{n}", value="x" * 50) for n in range(200)]
    )
    body = pb.DesireLRPRequest(desired_lrp=lrp).SerializeToString()

    assert len(body) > TINY_BYTES_MAX
    assert can_be_read_at_once(pb.DesireLRPRequest, body)


@pytest.mark.parametrize(
    "lrp",
    [bytes(READ_AT_ONCE_BYTES_MAX + 1), frame(EGRESS_RULES, b"") * (READ_AT_ONCE_FIELDS_MAX + 500)],
    ids=["many bytes", "many fields"],
)
def test_what_takes_longer_is_not(lrp: bytes) -> None:
    assert not can_be_read_at_once(pb.DesireLRPRequest, desire(of=lrp))


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        pytest.param(
            "desired_lrps/get_by_process_guid.r3",
            frame(1, b"a" * (2 << 20)),
            "bytes are more than",
            id="a guid",
        ),
        pytest.param("desired_lrp/desire.r2", bytes(5 << 20), "bytes are more than", id="an LRP"),
        pytest.param(
            "desired_lrp/desire.r2",
            desire(of=frame(EGRESS_RULES, b"") * 300_000),
            "more than 50000 fields",
            id="egress rules",
        ),
        pytest.param(
            "desired_lrp/desire.r2",
            desire(of=frame(EGRESS_RULES, frame(1, b"x")) * 20_000),
            "Invalid field: egress_rules",
            id="invalid egress rules",
        ),
        pytest.param(
            "actual_lrps/list_by_process_guids",
            frame(1, b"") * 300_000,
            "more than 200000 fields",
            id="guids",
        ),
        pytest.param(
            "desired_lrps/list.r3",
            b"".join(frame(3, b"%%%d" % number) for number in range(2_000)),
            "more than 1000 with wildcards",
            id="wildcards",
        ),
    ],
)
async def test_an_answer_is_short_whatever_was_asked(
    server: Server, path: str, body: bytes, complaint: str
) -> None:
    reply = await server.post(f"/v1/{path}", body)

    error = pb.DesiredLRPLifecycleResponse.FromString(reply.body).error
    assert error.type == pb.Error.InvalidRequest
    assert complaint in error.message
    assert len(reply.body) < 40_000


async def test_a_large_lrp_that_is_valid_is_taken(server: Server) -> None:
    lrp = desired_message(environment_variables=[pb.EnvironmentVariable(name="V", value="x" * (1 << 20))])

    assert await server.change("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=lrp)) == ""

    assert len(server.store.committed.desired_lrps.rows["p"].run_info) > 1 << 20


async def test_a_hundred_thousand_guids_are_looked_up(server: Server) -> None:
    for guid in ("guid-1", "guid-99999"):
        lrp = desired_message(guid)
        assert await server.change("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=lrp)) == ""
    guids = [f"guid-{number}" for number in range(100_000)]

    actual = await server.ask(
        "/v1/actual_lrps/list_by_process_guids",
        pb.ActualLRPsByProcessGuidsRequest(process_guids=guids),
        pb.ActualLRPsResponse,
    )
    desired = await server.ask(
        "/v1/desired_lrps/list.r3", pb.DesiredLRPsRequest(process_guids=guids), pb.DesiredLRPsResponse
    )
    of_app = await server.ask(
        "/v1/desired_lrps/list.r3", pb.DesiredLRPsRequest(app_guids=guids), pb.DesiredLRPsResponse
    )

    assert [lrp.actual_lrp_key.process_guid for lrp in actual.actual_lrps] == ["guid-1", "guid-99999"]
    for response in (desired, of_app):
        assert sorted(lrp.process_guid for lrp in response.desired_lrps) == ["guid-1", "guid-99999"]


@pytest.mark.parametrize(
    ("prefix", "text", "matches"),
    [
        ("app", "app-1", True),
        ("app", "an-app", False),
        ("a_p", "axp-1", True),
        (r"a\_p", "axp-1", False),
        (r"a\_p", "a_p-1", True),
        ("%1", "app-1", True),
        ("a%-%2", "app-1-3", False),
        ("a%-%3", "app-1-3", True),
        ("ab%b", "ab", False),
        (r"100\%", "100%", True),
        ("", "anything", True),
    ],
)
def test_app_guids_are_like_patterns(prefix: str, text: str, matches: bool) -> None:
    assert like(prefix).matches(text) is matches


def test_a_pattern_that_would_take_a_regular_expression_for_ever() -> None:
    assert not like("%a" * 100 + "%b").matches("a" * 255)


def test_millions_of_destinations_are_named_up_to_a_bound() -> None:
    rule = pb.SecurityGroupRule(protocol="all", destinations=["/," * 1_000_000])

    [broken] = [text for text in violations(desired_with(rule)) if "destinations" in text]

    assert broken.count("invalid CIDR address") == 1_000


def desired_with(rule: pb.SecurityGroupRule) -> pb.DesireLRPRequest:
    return pb.DesireLRPRequest(desired_lrp=desired_message(egress_rules=[rule]))


CLAIM = "/v1/actual_lrps/claim"
GROUP = "/v1/actual_lrp_groups/get_by_process_guid_and_index"
NOBODY = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c")
REQUESTS: dict[str, tuple[str, bytes]] = {
    "accepted": ("/v1/domains/upsert", pb.UpsertDomainRequest(domain="d").SerializeToString()),
    "no message": (CLAIM, b"\xff"),
    "a field of the wrong type": (CLAIM, frame(2, b"1")),
    "invalid": (CLAIM, b""),
    "too large, found by a thread": (CLAIM, bytes(SMALL_BYTES_MAX + 1)),
    "nothing found": (
        GROUP,
        pb.ActualLRPGroupByProcessGuidAndIndexRequest(process_guid="none", index=1).SerializeToString(),
    ),
    "refused as a change": (
        CLAIM,
        pb.ClaimActualLRPRequest(
            process_guid="none", index=1, actual_lrp_instance_key=NOBODY
        ).SerializeToString(),
    ),
    "no stream": ("/v1/events/lrp_instances.r1", b"\xff"),
}


async def test_a_request_is_let_go_without_a_garbage_collection(server: Server) -> None:
    """A refusal refers to the frames that it came through, and these have the body. If one of them had the refusal too, both would
    stay until the next collection: megabytes for each request.
    """
    for path, body in REQUESTS.values():
        await server.post(path, body)  # so that all is imported
    with without_collection():
        before = alive(Call, BaseException, TracebackType)
        known = set(map(id, before))
        replies = {name: await server.post(path, body) for name, (path, body) in REQUESTS.items()}

        def is_let_go() -> bool:
            return {id(each) for each in alive(Call, BaseException, TracebackType)} <= known

        await wait_until(is_let_go, within_s=5, what="nothing is left of the requests")
    assert {name for name, reply in replies.items() if reply.status == 500} == {"no stream"}
    assert {name for name, reply in replies.items() if not reply.body} == {"accepted", "no stream"}
