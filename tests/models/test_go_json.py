"""The JSON of the Go components beyond the samples: raw documents, escapes, and what reading refuses."""

import json
import re
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from bbs.models import pb
from bbs.models.go_json import compact_raw_json, from_json, to_json
from bbs.models.pb import locket_pb2

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("document", "compact"),
    [
        ('{ "b" : 1 ,\t"a":\r\n[ 1.50e+2, true ] }', '{"b":1,"a":[1.50e+2,true]}'),
        ('{"a":1,"a":2}', '{"a":1,"a":2}'),
        ('"a < b  &\t\\u003c"'.replace("\t", " "), '"a \\u003c b  \\u0026 \\u003c"'),
        ('"\u2028\u2029é\\/\\u00e9"', '"\\u2028\\u2029é\\/\\u00e9"'),
        ('"\\\\<"', '"\\\\\\u003c"'),
        (' "say \\" : \\" " ', '"say \\" : \\" "'),
        ("9" * 5000, "9" * 5000),
        ("-0.0", "-0.0"),
        ("null", "null"),
    ],
)
def test_raw_json_is_made_compact_and_otherwise_kept(document: str, compact: str) -> None:
    assert compact_raw_json(document.encode()).decode() == compact


def test_raw_json_may_contain_what_is_not_utf8() -> None:
    assert compact_raw_json(b'[ "\xff\xc3" ]') == b'["\xff\xc3"]'


def test_the_bound_on_nesting_counts_what_is_open_at_a_time() -> None:
    deepest = b"[" * 500 + b'"[[{{"' + b"]" * 500
    assert compact_raw_json(deepest) == deepest
    wide = b"[" + b"[{}]," * 1000 + b'"\\"["]'
    assert compact_raw_json(wide) == wide
    with pytest.raises(ValueError, match="nested too deeply"):
        compact_raw_json(b'{"a":[' * 250 + b"{}" + b"]}" * 250)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"  ", id="blank"),
        pytest.param(b"{} {}", id="two documents"),
        pytest.param(b"{", id="cut short"),
        pytest.param(b"[1,]", id="comma at the end"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b"{a:1}", id="bare key"),
        pytest.param(b"01", id="leading zero"),
        pytest.param(b"1.", id="no fraction"),
        pytest.param(b"+1", id="plus"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"-Infinity", id="infinity"),
        pytest.param(b'"\n"', id="control character"),
        pytest.param(b'"\\x41"', id="unknown escape"),
        pytest.param(b'"\\u12g4"', id="bad hex"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b"\xc2\xa0{}", id="no-break space"),
        pytest.param(b"\xd9\xa1", id="arabic digit"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="too deep"),
    ],
)
def test_raw_json_that_go_refuses(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        compact_raw_json(document)


@given(DOCUMENTS)
def test_raw_json_agrees_with_the_plain_encoder(document: Any) -> None:
    spread_out = json.dumps(document, indent=3, ensure_ascii=False).encode("utf-8", "surrogatepass")
    plain = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    for character in "<>&\u2028\u2029":
        plain = plain.replace(character.encode(), f"\\u{ord(character):04x}".encode())

    assert compact_raw_json(spread_out) == plain


# What cfdot prints (spec: client.md §5).

SCHEDULING_INFO = pb.DesiredLRPSchedulingInfo(
    desired_lrp_key=pb.DesiredLRPKey(process_guid="p", domain="d", log_guid="l"),
    routes=pb.ProtoRoutes(routes={"cf-router": b'[ {"hostnames":["a<b"]} ]'}),
    volume_placement=pb.VolumePlacement(),
)
ACTUAL_LRP = pb.ActualLRP(
    actual_lrp_key=pb.ActualLRPKey(process_guid="p", domain="d"),
    actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c"),
    actual_lrp_net_info=pb.ActualLRPNetInfo(
        address="1.1.1.1",
        ports=[pb.PortMapping(container_port=2, host_port=1)],
        instance_address="2.2.2.2",
        preferred_address=pb.ActualLRPNetInfo.PreferredAddress.INSTANCE,
    ),
    crash_reason="a&b",
    state="RUNNING",
    metric_tags={"a": "<b>"},
    routable=True,
)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        pytest.param(
            pb.CellPresence(cell_id="c1"),
            '{"cell_id":"c1","rep_address":"","zone":"","rep_url":"","annotations":{}}',
            id="cells",
        ),
        pytest.param(
            ACTUAL_LRP,
            r'{"process_guid":"p","index":0,"domain":"d","instance_guid":"i","cell_id":"c","address":"1.1.1.1",'
            r'"ports":[{"container_port":2,"host_port":1,"container_tls_proxy_port":0,"host_tls_proxy_port":0}],'
            r'"instance_address":"2.2.2.2","preferred_address":"INSTANCE","crash_count":0,'
            r'"crash_reason":"a\u0026b","state":"RUNNING","since":0,"modification_tag":{"epoch":"","index":0},'
            r'"presence":"ORDINARY","metric_tags":{"a":"\u003cb\u003e"},"OptionalRoutable":{"routable":true},'
            r'"availability_zone":""}',
            id="actual-lrps",
        ),
        pytest.param(
            SCHEDULING_INFO,
            r'{"process_guid":"p","domain":"d","log_guid":"l","annotation":"","instances":0,"memory_mb":0,'
            r'"disk_mb":0,"rootfs":"","max_pids":0,"routes":{"cf-router":[{"hostnames":["a\u003cb"]}]},'
            r'"epoch":"","index":0,"volume_placement":{"driver_names":null}}',
            id="desired-lrp-scheduling-infos",
        ),
        pytest.param(
            pb.ActualLRPCrashedEvent(
                actual_lrp_key=pb.ActualLRPKey(process_guid="p", domain="d"),
                actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c"),
                crash_reason="a&b",
            ),
            r'{"process_guid":"p","index":0,"domain":"d","instance_guid":"i","cell_id":"c","crash_count":0,'
            r'"crash_reason":"a\u0026b","since":0}',
            id="lrp-events",
        ),
        pytest.param(pb.DesiredLRPUpdate(instances=0, annotation=""), '{"instances":0,"annotation":""}', id="set to zero"),
        pytest.param(pb.DesiredLRPUpdate(routes=pb.ProtoRoutes()), '{"routes":null}', id="empty routes"),
        pytest.param(pb.ResourceLimits(nofile=0), '{"nofile":0}', id="limit of zero"),
        pytest.param(pb.Provider(name='\x00\b\f\n\r\t\x1f\x7f"\\/é'),
                     r'{"name":"\u0000\b\f\n\r\t\u001f' + "\x7f" + r'\"\\/é"}', id="escapes"),
        pytest.param(pb.Network(properties={"b": "", "a": "", "é": "", "Z": ""}),
                     '{"properties":{"Z":"","a":"","b":"","é":""}}', id="sorted keys"),
        pytest.param(pb.MetricTagValue.FromString(b"\x10\x07"), '{"dynamic":""}', id="unknown dynamic value"),
        pytest.param(pb.Task.FromString(b"\x30\x09\x0a\x00").task_definition, to_json(pb.TaskDefinition()), id="present"),
        pytest.param(pb.Error.FromString(b"\x08\x63"), '{"type":"99","message":""}', id="unknown type"),
        pytest.param(locket_pb2.Resource(type_code=locket_pb2.LOCK), '{"type_code":1}', id="enum as a number"),
    ],
)  # fmt: skip
def test_json_lines(message: Message, line: str) -> None:
    assert to_json(message) == line


@pytest.mark.parametrize(
    ("routable", "lrp", "info"),
    [
        (True, '{"routable":true}', '{"Routable":true}'),
        (False, '{"routable":false}', "{}"),
        (None, "null", "null"),
    ],
)
def test_the_two_shapes_of_routable(routable: bool | None, lrp: str, info: str) -> None:
    assert f'"OptionalRoutable":{lrp},' in to_json(pb.ActualLRP(routable=routable))
    assert f'"OptionalRoutable":{info},' in to_json(pb.ActualLRPInfo(Routable=routable))


def test_a_route_that_is_not_json_cannot_be_shown() -> None:
    with pytest.raises(ValueError, match=r"."):
        to_json(pb.DesiredLRP(routes=pb.ProtoRoutes(routes={"r": b""})))


@pytest.mark.parametrize(
    ("message_class", "text", "expected"),
    [
        pytest.param(pb.CellCapacity, ' {"MEMORY_mb": -5, "other": [{}], "disk_mb": null}\n', pb.CellCapacity(memory_mb=-5),
                     id="case, unknown keys, null"),
        pytest.param(pb.CellCapacity, "null", pb.CellCapacity(), id="null"),
        pytest.param(pb.CellPresence, '{"annotations":{"a":"b","n":null}}',
                     pb.CellPresence(annotations={"a": "b", "n": ""}), id="null in a map"),
        pytest.param(pb.DesiredLRPUpdate, '{"instances":0,"routes":{"r": [1.0 , 2] }}',
                     pb.DesiredLRPUpdate(instances=0, routes=pb.ProtoRoutes(routes={"r": b"[1.0 , 2]"})),
                     id="routes to the byte"),
        pytest.param(pb.Task, '{"task_guid":"g"}', pb.Task(task_guid="g"), id="nothing of the definition"),
        pytest.param(pb.Task, '{"RootFS":"r"}', pb.Task(task_definition=pb.TaskDefinition(root_fs="r")), id="flattened"),
        pytest.param(pb.MetricTagValue, '{"dynamic":"SOMETHING"}', pb.MetricTagValue(), id="lenient enum"),
        pytest.param(pb.Network, '{"properties":{"a\\u00e9\\n":"<"}}', pb.Network(properties={"aé\n": "<"}), id="escapes"),
        pytest.param(pb.DesiredLRPUpdate, '{"metric_tags":{"a":null}}',
                     pb.DesiredLRPUpdate(metric_tags={"a": pb.MetricTagValue()}), id="null message in a map"),
        pytest.param(pb.CertificateProperties, '{"organizational_unit":["a"],"organizational_unit":["b",null]}',
                     pb.CertificateProperties(organizational_unit=["b", ""]), id="key twice"),
        pytest.param(pb.CellPresence, '{"zone":"a\\ud800b\\ud83d\\ude00"}', pb.CellPresence(zone="a\ufffdb\U0001f600"),
                     id="half a surrogate pair"),
    ],
)  # fmt: skip
def test_reading(message_class: type[Message], text: str, expected: Message) -> None:
    assert from_json(message_class, text) == expected


@pytest.mark.parametrize(
    ("message_class", "text", "reason"),
    [
        (pb.CellCapacity, "", "expected JSON, is empty"),
        (pb.CellCapacity, " \n", "expected JSON, is empty"),
        (pb.CellCapacity, '{"memory_mb":', "expected JSON, which ends too early"),
        (pb.CellCapacity, '{"memory_mb":5', "expected JSON, which ends too early"),
        (pb.CellCapacity, "{'memory_mb':5}", "expected JSON, is none from character 2 on"),
        (pb.CellCapacity, '{"memory_mb":5} x', "expected JSON, is none from character 17 on"),
        (pb.CellCapacity, '{"memory_mb":NaN}', "expected JSON, which has no NaN"),
        (pb.CellCapacity, "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        (pb.CellCapacity, "[]", "expected an object, is an array"),
        (pb.CellCapacity, '{"memory_mb":"5"}', "memory_mb: expected an integer, is a string"),
        (pb.CellCapacity, '{"memory_mb":5.0}', "memory_mb: expected an integer, is a number with a fraction or an exponent"),
        (pb.CellCapacity, '{"memory_mb":5e1}', "memory_mb: expected an integer, is a number with a fraction or an exponent"),
        (pb.CellCapacity, '{"memory_mb":2147483648}',
         "memory_mb: expected an integer from -2147483648 to 2147483647, is another one"),
        (pb.CellCapacity, '{"memory_mb":-' + "9" * 5000 + "}",
         "memory_mb: expected an integer from -2147483648 to 2147483647, is another one"),
        (pb.CellPresence, '{"cell_id":5}', "cell_id: expected a string, is an integer"),
        (pb.CellPresence, '{"CELL_ID":true}', "CELL_ID: expected a string, is true"),
        (pb.CellPresence, '{"capacity":5}', "capacity: expected an object, is an integer"),
        (pb.CellPresence, '{"capacity":{"disk_mb":[]}}', "capacity.disk_mb: expected an integer, is an array"),
        (pb.CellPresence, '{"annotations":[]}', "annotations: expected an object, is an array"),
        (pb.CellPresence, '{"annotations":{"a b":{}}}', 'annotations["a b"]: expected a string, is an object'),
        (pb.CellPresence, '{"placement_tags":{}}', "placement_tags: expected an array, is an object"),
        (pb.CellPresence, '{"placement_tags":["a",1]}', "placement_tags[1]: expected a string, is an integer"),
        (pb.CellPresence, '{"rootfs_provider_list":[{},{"name":false}]}',
         "rootfs_provider_list[1].name: expected a string, is false"),
        (pb.RunAction, '{"suppress_log_output":1}', "suppress_log_output: expected true or false, is an integer"),
        (pb.RunAction, '{"env":[null]}', "env[0]: expected an object, is null"),
        (pb.MetricTagValue, '{"dynamic":1}', "dynamic: expected a string, is an integer"),
        (pb.ActualLRP, '{"presence":"NOWHERE"}', "presence: invalid presence: NOWHERE"),
        (pb.Error, '{"type":"NoSuchThing"}', "type: invalid presence: NoSuchThing"),
        (pb.ImageLayer, '{"digest_algorithm":"MD5"}', "digest_algorithm: invalid digest_algorithm: MD5"),
        (pb.Task, '{"state":"Sleeping"}', "state: invalid state: Sleeping"),
        (locket_pb2.Resource, '{"type_code":"LOCK"}', "type_code: expected an integer, is a string"),
        (pb.ActualLRP, '{"OptionalRoutable":{"routable":true}}', "OptionalRoutable: expected null, is an object"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else value[:40],
)  # fmt: skip
def test_reading_says_what_is_wrong_and_where(message_class: type[Message], text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        from_json(message_class, text)
