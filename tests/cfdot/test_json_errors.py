"""JSON that does not fit, in the words of Go's encoding/json. Its syntax errors are among the invocations of `vectors.json`."""

import pytest
from google.protobuf.message import Message

from bbs.cfdot.errors import Invalid
from bbs.cfdot.json_errors import syntax_error
from bbs.cfdot.specs import read
from bbs.models import pb

CASES: list[tuple[type[Message], str, str]] = [
    (pb.Task, "true", "json: cannot unmarshal bool into Go value of type models.Task"),
    (pb.DesiredLRP, "[1]", "json: cannot unmarshal array into Go value of type models.DesiredLRP"),
    (pb.DesiredLRP, "3", "json: cannot unmarshal number into Go value of type models.DesiredLRP"),
    (
        pb.DesiredLRPUpdate,
        '{"instances":"4"}',
        "json: cannot unmarshal string into Go struct field internalDesiredLRPUpdate.instances of type int32",
    ),
    (
        pb.DesiredLRPUpdate,
        '{"instances":4.5}',
        "json: cannot unmarshal number 4.5 into Go struct field internalDesiredLRPUpdate.instances of type int32",
    ),
    (
        pb.DesiredLRP,
        '{"instances":99999999999}',
        "json: cannot unmarshal number 99999999999 into Go struct field DesiredLRP.instances of type int32",
    ),
    (
        pb.DesiredLRP,
        '{"ports":["a"]}',
        "json: cannot unmarshal string into Go struct field DesiredLRP.ports of type uint32",
    ),
    (
        pb.DesiredLRP,
        '{"ports":{}}',
        "json: cannot unmarshal object into Go struct field DesiredLRP.ports of type []uint32",
    ),
    (
        pb.DesiredLRP,
        '{"env":3}',
        "json: cannot unmarshal number into Go struct field DesiredLRP.env of type []*models.EnvironmentVariable",
    ),
    (
        pb.DesiredLRP,
        '{"env":[3]}',
        "json: cannot unmarshal number into Go struct field DesiredLRP.env of type models.EnvironmentVariable",
    ),
    (
        pb.DesiredLRP,
        '{"env":[{"name":3}]}',
        "json: cannot unmarshal number into Go struct field EnvironmentVariable.env.name of type string",
    ),
    (
        pb.DesiredLRP,
        '{"action":{"run":{"args":[1]}}}',
        "json: cannot unmarshal number into Go struct field RunAction.action.run.args of type string",
    ),
    (
        pb.DesiredLRP,
        '{"metric_tags":[]}',
        "json: cannot unmarshal array into Go struct field DesiredLRP.metric_tags of type"
        " map[string]*models.MetricTagValue",
    ),
    (
        pb.DesiredLRP,
        '{"metric_tags":{"a.b]":{"static":true}}}',
        "json: cannot unmarshal bool into Go struct field MetricTagValue.metric_tags.static of type string",
    ),
    (
        pb.DesiredLRP,
        '{"routes":"x"}',
        "json: cannot unmarshal string into Go value of type map[string]*json.RawMessage",
    ),
    (
        pb.Task,
        '{"memory_mb":"x"}',
        "json: cannot unmarshal string into Go struct field Task.memory_mb of type int32",
    ),
]


@pytest.mark.parametrize(("message_class", "document", "text"), CASES)
def test_what_does_not_fit(message_class: type[Message], document: str, text: str) -> None:
    with pytest.raises(Invalid) as wrong:
        read(message_class, document)

    assert str(wrong.value) == f"Invalid JSON: {text}"


@pytest.mark.parametrize(
    "document", ['{"state":"Nonsense"}', '{"trusted_system_certificates_path":3,"state":3}']
)
def test_what_has_rules_of_its_own_is_told_all_the_same(document: str) -> None:
    with pytest.raises(Invalid, match=r"^Invalid JSON: "):
        read(pb.Task, document)


def test_nesting_takes_no_stack() -> None:
    assert syntax_error(b"[" * 10_000 + b"]" * 10_000) == ""
    assert syntax_error(b"[" * 10_001 + b"]" * 10_001) == "exceeded max depth"
    assert syntax_error(b'{"a":' * 9_000) == "unexpected end of JSON input"
