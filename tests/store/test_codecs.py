"""Columns are what the spec says, whatever a record holds survives being stored, and what can't be read says so."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, ModificationTag, Presence
from bbs.models.desired_lrp import DesiredLRP, MetricTag
from bbs.models.domain import Domain
from bbs.models.errors import BBSError, InvalidRequest, UnknownError
from bbs.models.outcome import Record
from bbs.models.wire import encode
from bbs.store import json_columns
from bbs.store.codecs import CODECS
from bbs.store.codecs.codec import Codec, Policy, Undecodable
from bbs.store.crypto import Keyring
from bbs.store.storable import must_be_storable
from tests.records import actual_lrp, desired_lrp

KEYRING = Keyring({"label": "key"}, "label", nonce=lambda: bytes(range(12)))
ACTUAL, DESIRED, DOMAIN = CODECS[ActualLRP], CODECS[DesiredLRP], CODECS[Domain]
NET_INFO = pb.ActualLRPNetInfo(
    address="10.0.0.5",
    ports=[pb.PortMapping(container_port=8080, host_port=61001)],
    instance_address="10.255.1.7",
    preferred_address=pb.ActualLRPNetInfo.HOST,
)
NUL_TEXT = 'ERROR: invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)'


def stored(record: Record, **replaced: Any) -> tuple[Any, ...]:
    """The row of ``record``, some columns replaced."""
    codec = CODECS[type(record)]
    columns = dict(zip(names(codec), codec.encode(record, KEYRING), strict=True))
    assert replaced.keys() <= columns.keys()
    return tuple((columns | replaced).values())


def names(codec: Codec) -> list[str]:
    return [column.name for column in codec.columns]


def column(record: Record, name: str) -> Any:
    return dict(zip(names(CODECS[type(record)]), stored(record), strict=True))[name]


def opened(record: Record, name: str) -> bytes:
    return KEYRING.open(column(record, name))


def test_the_worked_net_info() -> None:
    lrp = actual_lrp(net_info=encode(NET_INFO))

    assert column(lrp, "net_info") == (
        "02BWxhYmVsAAECAwQFBgcICQoLF66tYx3RMWHa/xW7ypNeb/p4Vx/Yyv9vkoRgwKUCF50dmg3I9khKAOTh0s8fQJodSB27"
    )
    assert ACTUAL.decode(stored(lrp), KEYRING) == lrp


def test_the_sealed_columns_of_a_fresh_unclaimed_instance() -> None:
    lrp = actual_lrp()

    assert column(lrp, "net_info") == "02BWxhYmVsAAECAwQFBgcICQoLF65nZOQHrQg15KFQ20Fol9Xv"
    assert column(lrp, "internal_routes") == "02BWxhYmVsAAECAwQFBgcICQoLTvPib6xozmqMAdXbkEOeXBRa"
    assert column(lrp, "metric_tags") == "02BWxhYmVsAAECAwQFBgcICQoLbtNeQr7aXRDtgz27qs/9Z9mM"
    assert [
        column(lrp, name) for name in ("cell_id", "instance_guid", "placement_error", "crash_reason")
    ] == [""] * 4
    assert (column(lrp, "crash_count"), column(lrp, "routable"), column(lrp, "presence")) == (0, False, 0)


@pytest.mark.parametrize(
    ("record", "name", "plaintext"),
    [
        pytest.param(
            dataclasses.replace(desired_lrp(), volume_drivers=("nfsv3driver",)),
            "volume_placement",
            bytes.fromhex("02000a0b6e66737633647269766572"),
            id="one volume driver",
        ),
        pytest.param(desired_lrp(), "volume_placement", b"\x02\x00", id="no volume driver"),
        pytest.param(
            desired_lrp(
                routes=pb.ProtoRoutes(routes={"cf-router": b'[ {"hostnames":["<a>.x"], "port":8080} ]'})
            ),
            "routes",
            rb'{"cf-router":[{"hostnames":["\u003ca\u003e.x"],"port":8080}]}',
            id="routes",
        ),
        pytest.param(dataclasses.replace(desired_lrp(), routes=None), "routes", b"null", id="no routes"),
        pytest.param(
            dataclasses.replace(desired_lrp(), routes=(("b", b"1.50"), ("a<", b'{"z":1,"a":2}'))),
            "routes",
            rb'{"a\u003c":{"z":1,"a":2},"b":1.50}',
            id="router names sorted, values as they are",
        ),
        pytest.param(
            dataclasses.replace(desired_lrp(), metric_tags=()), "metric_tags", b"null", id="no desired tags"
        ),
        pytest.param(
            dataclasses.replace(
                desired_lrp(),
                metric_tags=(
                    ("neither", MetricTag()),
                    ("index", MetricTag(dynamic=1)),
                    ("guid", MetricTag(dynamic=2)),
                    ("static", MetricTag(static="&")),
                ),
            ),
            "metric_tags",
            rb'{"guid":{"dynamic":"INSTANCE_GUID"},"index":{"dynamic":"INDEX"},"neither":{},"static":{"static":"\u0026"}}',
            id="desired tags",
        ),
        pytest.param(
            actual_lrp(internal_routes=("a.apps.internal", "b")),
            "internal_routes",
            b'[{"hostname":"a.apps.internal"},{"hostname":"b"}]',
            id="internal routes",
        ),
        pytest.param(
            actual_lrp(internal_routes=None), "internal_routes", b"null", id="absent internal routes"
        ),
        pytest.param(
            actual_lrp(metric_tags=(("b", "2"), ("a", "1"))), "metric_tags", b'{"a":"1","b":"2"}', id="tags"
        ),
        pytest.param(actual_lrp(metric_tags=None), "metric_tags", b"null", id="absent tags"),
    ],
)
def test_what_is_sealed(record: Any, name: str, plaintext: Any) -> None:
    assert opened(record, name) == plaintext


@pytest.mark.parametrize(
    ("tags", "text"),
    [(None, "null"), ((), "[]"), (("a", "<b>", "é"), '["a","\\u003cb\\u003e","é"]')],
    ids=["none", "empty", "some"],
)
def test_placement_tags_are_plain(tags: tuple[str, ...] | None, text: str) -> None:
    lrp = dataclasses.replace(desired_lrp(), placement_tags=tags)

    assert column(lrp, "placement_tags") == text
    assert DESIRED.decode(stored(lrp), KEYRING) == lrp


def test_run_info_is_an_envelope_with_unpacked_ports() -> None:
    lrp = desired_lrp(ports=[8080, 8081])

    assert opened(lrp, "run_info") == b"\x02\x00" + lrp.run_info
    assert b"\x48\x90\x3f\x48\x91\x3f" in lrp.run_info


@pytest.mark.parametrize(
    "ports", [b"\x48\x90\x3f\x48\x91\x3f", b"\x4a\x04\x90\x3f\x91\x3f"], ids=["unpacked", "packed"]
)
def test_ports_are_read_packed_or_not(ports: bytes) -> None:
    row = stored(desired_lrp(), run_info=KEYRING.seal(b"\x02\x00" + ports))

    decoded = DESIRED.decode(row, KEYRING)
    assert isinstance(decoded, DesiredLRP)
    assert list(decoded.message().ports) == [8080, 8081]


def sealed(plaintext: bytes) -> str:
    return KEYRING.seal(plaintext)


@pytest.mark.parametrize(
    ("record", "replaced", "expected"),
    [
        pytest.param(actual_lrp(), {"net_info": ""}, {"net_info": b""}, id="empty net info"),
        pytest.param(
            actual_lrp(), {"net_info": sealed(b"\x01\x07")}, {"net_info": b""}, id="any envelope version"
        ),
        pytest.param(
            actual_lrp(),
            {"net_info": sealed(b"\x02\x00\x9a\x06\x00")},
            {"net_info": b""},
            id="unknown field of net info",
        ),
        pytest.param(actual_lrp(), {"internal_routes": None}, {"internal_routes": ()}, id="routes NULL"),
        pytest.param(actual_lrp(), {"internal_routes": ""}, {"internal_routes": ()}, id="routes ''"),
        pytest.param(
            actual_lrp(), {"internal_routes": sealed(b"null")}, {"internal_routes": None}, id="routes null"
        ),
        pytest.param(
            actual_lrp(),
            {"internal_routes": sealed(b' [ { "hostname" : "a" , "x" : 1 } , {} ] ')},
            {"internal_routes": ("a", "")},
            id="routes with more and less in them",
        ),
        pytest.param(actual_lrp(), {"metric_tags": None}, {"metric_tags": ()}, id="tags NULL"),
        pytest.param(actual_lrp(), {"metric_tags": ""}, {"metric_tags": ()}, id="tags ''"),
        pytest.param(actual_lrp(), {"metric_tags": sealed(b"null")}, {"metric_tags": None}, id="tags null"),
        pytest.param(actual_lrp(), {"metric_tags": sealed(b"{ }")}, {"metric_tags": ()}, id="tags {}"),
        pytest.param(
            actual_lrp(),
            {"metric_tags": sealed(b'{"b":"\\ud800","a":null}')},
            {"metric_tags": (("a", ""), ("b", "\ufffd"))},
            id="tags with half a character",
        ),
        pytest.param(
            actual_lrp(),
            {"metric_tags": sealed(b'{"a":"\xff"}')},
            {"metric_tags": (("a", "\ufffd"),)},
            id="not UTF-8",
        ),
        pytest.param(actual_lrp(), {"routable": None}, {"routable": False}, id="routable NULL"),
        pytest.param(actual_lrp(), {"since": None}, {"since_ns": 0}, id="since NULL"),
        pytest.param(
            actual_lrp(),
            {"modification_tag_index": None},
            {"tag": ModificationTag(epoch="e", index=0)},
            id="index NULL",
        ),
        pytest.param(desired_lrp(), {"annotation": None}, {"annotation": ""}, id="annotation NULL"),
        pytest.param(
            desired_lrp(), {"placement_tags": None}, {"placement_tags": None}, id="placement tags NULL"
        ),
        pytest.param(desired_lrp(), {"max_pids": None}, {"max_pids": 0}, id="max_pids NULL"),
        pytest.param(desired_lrp(), {"metric_tags": None}, {"metric_tags": ()}, id="desired tags NULL"),
        pytest.param(
            desired_lrp(), {"metric_tags": sealed(b"{}")}, {"metric_tags": ()}, id="desired tags {}"
        ),
        pytest.param(
            desired_lrp(),
            {
                "metric_tags": sealed(
                    b'{"a":{"dynamic":"NEWER"},"b":null,"c":{"static":null,"dynamic":"INDEX"}}'
                )
            },
            {"metric_tags": (("a", MetricTag()), ("b", MetricTag()), ("c", MetricTag(dynamic=1)))},
            id="unknown dynamic value",
        ),
        pytest.param(desired_lrp(), {"routes": sealed(b"{}")}, {"routes": ()}, id="empty routes"),
        pytest.param(desired_lrp(), {"routes": sealed(b" null ")}, {"routes": None}, id="null routes"),
        pytest.param(
            desired_lrp(),
            {
                "routes": sealed(
                    b' { "long":'
                    + b"9" * 5000
                    + b', "b" : [1.50, {"z":1,"a":2}] , "a\\u003c" : null , "b2":-0 } '
                )
            },
            {"routes": (("a<", b""), ("b", b'[1.50, {"z":1,"a":2}]'), ("b2", b"-0"), ("long", b"9" * 5000))},
            id="raw route values",
        ),
        pytest.param(
            desired_lrp(),
            {"routes": sealed(b'{"\xff\\ud800\xc3\xa9":"\xff\xc3\xa9\\ud800"}')},
            {"routes": (("\ufffd\ufffdé", b'"\xff\xc3\xa9\\ud800"'),)},
            id="what is no UTF-8 is replaced in names, and kept in values",
        ),
        pytest.param(
            Domain(name="d", expire_time_ns=1), {"expire_time": None}, {"expire_time_ns": 0}, id="expiry NULL"
        ),
    ],
)
def test_what_older_servers_left_is_read(record: Any, replaced: dict[str, Any], expected: Any) -> None:
    decoded = CODECS[type(record)].decode(stored(record, **replaced), KEYRING)

    assert decoded == dataclasses.replace(record, **expected)


def test_a_null_route_is_written_back_as_null() -> None:
    assert json_columns.dump_routes((("a", b""),)) == b'{"a":null}'


@pytest.mark.parametrize("plaintext", [b"", b"\x02", b"\x02\x00\xff", b"\x02\x00\x0a\x01\xff"])
@pytest.mark.parametrize("name", ["net_info", "run_info", "volume_placement"])
def test_a_broken_envelope_is_undecodable(name: str, plaintext: Any) -> None:
    record = actual_lrp() if name == "net_info" else desired_lrp()

    with pytest.raises(Undecodable, match=name):
        CODECS[type(record)].decode(stored(record, **{name: sealed(plaintext)}), KEYRING)


@pytest.mark.parametrize(
    ("record", "name", "text"),
    [
        (actual_lrp(), "internal_routes", "{}"),
        (actual_lrp(), "internal_routes", '["a"]'),
        (actual_lrp(), "internal_routes", '[{"hostname":1}]'),
        (actual_lrp(), "internal_routes", "[" * 100_000),
        (actual_lrp(), "metric_tags", "[]"),
        (actual_lrp(), "metric_tags", '{"a":1}'),
        (actual_lrp(), "metric_tags", ""),
        (desired_lrp(), "routes", ""),
        (desired_lrp(), "routes", "[]"),
        (desired_lrp(), "routes", "{} {}"),
        (desired_lrp(), "routes", '{"a":NaN}'),
        (desired_lrp(), "routes", '{"a":}'),
        (desired_lrp(), "metric_tags", '{"a":{"dynamic":1}}'),
        (desired_lrp(), "metric_tags", '{"a":{"dynamic":0}}'),
        (desired_lrp(), "metric_tags", '{"a":"b"}'),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else "",
)
def test_json_of_the_wrong_shape_is_undecodable(record: Any, name: str, text: str) -> None:
    with pytest.raises(Undecodable, match=name):
        CODECS[type(record)].decode(stored(record, **{name: sealed(text.encode())}), KEYRING)


@pytest.mark.parametrize(
    ("record", "replaced", "policy"),
    [
        pytest.param(actual_lrp(), {"net_info": "02x"}, Policy.DELETE, id="net_info"),
        pytest.param(actual_lrp(), {"internal_routes": "02x"}, Policy.DELETE, id="internal_routes"),
        pytest.param(actual_lrp(), {"metric_tags": "02x"}, Policy.DELETE, id="actual metric_tags"),
        pytest.param(actual_lrp(), {"presence": 3}, Policy.LEAVE_OUT, id="presence"),
        pytest.param(actual_lrp(), {"state": "DANCING"}, Policy.LEAVE_OUT, id="state"),
        pytest.param(actual_lrp(), {"modification_tag_index": -1}, Policy.LEAVE_OUT, id="actual tag's index"),
        pytest.param(
            desired_lrp(), {"modification_tag_index": -1}, Policy.LEAVE_OUT, id="desired tag's index"
        ),
        pytest.param(desired_lrp(), {"run_info": "02x"}, Policy.DELETE, id="run_info"),
        pytest.param(desired_lrp(), {"routes": ""}, Policy.LEAVE_OUT, id="routes"),
        pytest.param(desired_lrp(), {"volume_placement": "02x"}, Policy.LEAVE_OUT, id="volume_placement"),
        pytest.param(desired_lrp(), {"metric_tags": "02x"}, Policy.LEAVE_OUT, id="desired metric_tags"),
        pytest.param(desired_lrp(), {"placement_tags": "x"}, Policy.LEAVE_OUT, id="placement_tags"),
        pytest.param(
            desired_lrp(), {"run_info": "02x", "routes": "02x"}, Policy.LEAVE_OUT, id="run_info and routes"
        ),
    ],
)
def test_what_becomes_of_a_row_depends_on_the_column(
    record: Any, replaced: dict[str, Any], policy: Policy
) -> None:
    codec = CODECS[type(record)]
    row = stored(record, **replaced)

    rows, (failure,) = codec.decode_rows([row, stored(record)], KEYRING)

    assert [row.record for row in rows] == [record]
    assert (failure.policy, failure.table, failure.key) == (policy, codec.table, row[: codec.key_columns])


GUID = "g" * 255
WORDS = "w" * 1024


@pytest.mark.parametrize(
    "record",
    [
        actual_lrp(
            GUID, domain=GUID, availability_zone="é" * 255, placement_error=WORDS, crash_reason="😀" * 1024
        ),
        actual_lrp(
            instance=InstanceKey(instance_guid=GUID, cell_id=GUID),
            tag=ModificationTag(epoch=GUID, index=2**31 - 1),
        ),
        actual_lrp(index=-(2**31), crash_count=2**31 - 1, since_ns=2**63 - 1),
        dataclasses.replace(
            desired_lrp(GUID),
            domain=GUID,
            log_guid=GUID,
            rootfs=WORDS,
            annotation=WORDS * 100,
            placement_tags=("\0",),
        ),
        Domain(name="é" * 255, expire_time_ns=2**63 - 1),
    ],
    ids=["texts", "instance", "numbers", "desired", "domain"],
)
def test_a_record_at_its_limits_may_be_written(record: Any) -> None:
    must_be_storable(record)


@pytest.mark.parametrize(
    ("record", "refusal", "text"),
    [
        pytest.param(record, InvalidRequest, "the request received is invalid", id=name)
        for name, record in {
            "process_guid": actual_lrp(GUID + "g"),
            "domain": actual_lrp(domain=GUID + "g"),
            "instance_guid": actual_lrp(instance=InstanceKey(instance_guid=GUID + "g", cell_id="")),
            "cell_id": actual_lrp(instance=InstanceKey(instance_guid="", cell_id=GUID + "g")),
            "zone": actual_lrp(availability_zone="é" * 256),
            "placement_error": actual_lrp(placement_error=WORDS + "w"),
            "crash_reason": actual_lrp(crash_reason=WORDS + "w"),
            "blanks": actual_lrp(crash_reason=WORDS + " "),
            "rootfs": dataclasses.replace(desired_lrp(), rootfs=WORDS + "w"),
            "log_guid": dataclasses.replace(desired_lrp(), log_guid=GUID + "g"),
            "domain name": Domain(name=GUID + "g", expire_time_ns=0),
        }.items()
    ]
    + [
        pytest.param(actual_lrp(crash_reason="\0"), UnknownError, NUL_TEXT, id="NUL"),
        pytest.param(
            dataclasses.replace(desired_lrp(), annotation="a\0"),
            UnknownError,
            NUL_TEXT,
            id="NUL in plain text",
        ),
        pytest.param(
            actual_lrp(GUID + "g", domain="\0"), UnknownError, NUL_TEXT, id="NUL comes before too long"
        ),
        pytest.param(
            actual_lrp(tag=ModificationTag(epoch="e", index=2**31)),
            UnknownError,
            "ERROR: integer out of range (SQLSTATE 22003)",
            id="integer",
        ),
        pytest.param(
            Domain(name="d", expire_time_ns=2**63),
            UnknownError,
            "ERROR: bigint out of range (SQLSTATE 22003)",
            id="bigint",
        ),
    ],
)
def test_poison_is_refused_before_it_joins_a_batch(
    record: Record, refusal: type[BBSError], text: str
) -> None:
    with pytest.raises(refusal) as refused:
        must_be_storable(record)

    assert str(refused.value) == text
    assert type(refused.value) is refusal


texts = st.text(st.characters(codec="utf-8"), max_size=20)
int4 = st.integers(-(2**31), 2**31 - 1)
int8 = st.integers(-(2**63), 2**63 - 1)
tags = st.builds(ModificationTag, epoch=texts, index=st.integers(0, 2**31 - 1))


def distinct_by_name(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.dictionaries(texts, values, max_size=4).map(lambda items: tuple(sorted(items.items())))


actual_lrps = st.builds(
    ActualLRP,
    process_guid=texts,
    index=int4,
    domain=texts,
    presence=st.sampled_from(Presence),
    state=st.sampled_from(ActualLRPState),
    instance=st.builds(InstanceKey, instance_guid=texts, cell_id=texts),
    net_info=st.builds(pb.ActualLRPNetInfo, address=texts, instance_address=texts).map(encode),
    internal_routes=st.none() | st.lists(texts, max_size=4).map(tuple),
    metric_tags=st.none() | distinct_by_name(texts),
    routable=st.booleans(),
    availability_zone=texts,
    crash_count=int4,
    crash_reason=texts,
    placement_error=texts,
    since_ns=int8,
    tag=tags,
)
desired_lrps = st.builds(
    DesiredLRP,
    process_guid=texts,
    domain=texts,
    log_guid=texts,
    annotation=texts,
    instances=int4,
    memory_mb=int4,
    disk_mb=int4,
    max_pids=int4,
    rootfs=texts,
    routes=st.none() | distinct_by_name(texts.map(json_columns.dump_string)),
    volume_drivers=st.lists(texts, max_size=4).map(tuple),
    placement_tags=st.none() | st.lists(texts, max_size=4).map(tuple),
    metric_tags=distinct_by_name(st.builds(MetricTag, static=texts, dynamic=st.sampled_from((0, 1, 2)))),
    update_strategy=st.sampled_from((0, 1)),
    run_info=st.builds(pb.DesiredLRPRunInfo, log_source=texts, ports=st.lists(st.integers(0, 65535))).map(
        encode
    ),
    tag=tags,
)
domains = st.builds(Domain, name=texts, expire_time_ns=int8)


@given(st.one_of(actual_lrps, desired_lrps, domains))
def test_every_record_survives_being_stored(record: Any) -> None:
    codec = CODECS[type(record)]
    row = codec.encode(record, KEYRING)

    assert codec.decode(row, KEYRING) == record
    assert row[: codec.key_columns] == codec.key_values(record.key)
    assert row[: len(codec.plain(record))] == codec.plain(record)
    assert all(column.sealed for column in codec.columns[len(codec.plain(record)) :])


@given(st.sampled_from(["net_info", "internal_routes", "metric_tags"]), st.binary(max_size=40))
def test_no_plaintext_makes_an_actual_row_crash(name: str, plaintext: Any) -> None:
    ACTUAL.decode_rows([stored(actual_lrp(), **{name: sealed(plaintext)})], KEYRING)


@given(st.sampled_from(["routes", "metric_tags", "run_info", "volume_placement"]), st.binary(max_size=40))
def test_no_plaintext_makes_a_desired_row_crash(name: str, plaintext: Any) -> None:
    DESIRED.decode_rows([stored(desired_lrp(), **{name: sealed(plaintext)})], KEYRING)
