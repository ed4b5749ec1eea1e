"""Every message against a sample of the reference encoder (spec: wire-messages.json)."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.go_json import from_json, to_json
from bbs.models.go_json._raw import quote
from bbs.models.pb import locket_pb2
from bbs.models.wire import decode, encode

EXAMPLES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "wire_examples.json").read_text())
NAMES = [example["message"] for example in EXAMPLES]

# JSON shows the oneof as an object, which the reference decoder cannot read back.
ONEOF_AS_OBJECT = "OptionalRoutable"


def message_class(name: str) -> type[Message]:
    found: type[Message] = getattr(pb, name, None) or getattr(locket_pb2, name)
    return found


def as_go_writes(document: Any) -> str:
    """The slow twin: plain JSON text of ``document``, keys in its order."""
    if isinstance(document, dict):
        return "{" + ",".join(f"{quote(key)}:{as_go_writes(value)}" for key, value in document.items()) + "}"
    if isinstance(document, list):
        return "[" + ",".join(map(as_go_writes, document)) + "]"
    return quote(document) if isinstance(document, str) else json.dumps(document)


def holds(document: Any, key: str) -> bool:
    if isinstance(document, dict):
        return document.get(key) is not None or any(holds(value, key) for value in document.values())
    return isinstance(document, list) and any(holds(value, key) for value in document)


def is_readable(example: dict[str, Any]) -> bool:
    """Not every JSON that is written can be read: a oneof as an object cannot, nor can a number without a name."""
    return not holds(example["json"], ONEOF_AS_OBJECT) and '"type": "1"' not in json.dumps(example["json"])


def test_there_is_a_sample_of_every_message() -> None:
    exported = {
        name for name, value in vars(pb).items() if isinstance(value, type) and issubclass(value, Message)
    }

    assert exported <= set(NAMES)


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_bytes_survive_decoding_and_encoding(example: dict[str, Any]) -> None:
    data = bytes.fromhex(example["hex"])

    assert encode(decode(message_class(example["message"]), data)).hex() == example["hex"]


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_json_of_the_sample(example: dict[str, Any]) -> None:
    message = decode(message_class(example["message"]), bytes.fromhex(example["hex"]))

    assert to_json(message) == as_go_writes(example["json"])


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_json_of_nothing(example: dict[str, Any]) -> None:
    assert to_json(message_class(example["message"])()) == as_go_writes(example["json_of_zero_value"])


READABLE = [example for example in EXAMPLES if is_readable(example)]
UNREADABLE = [example for example in EXAMPLES if not is_readable(example)]


@pytest.mark.parametrize("example", READABLE, ids=lambda example: example["message"])
def test_the_sample_read_from_json(example: dict[str, Any]) -> None:
    read = from_json(message_class(example["message"]), as_go_writes(example["json"]))

    assert encode(read).hex() == example["hex"]


@pytest.mark.parametrize("example", UNREADABLE, ids=lambda example: example["message"])
def test_json_that_the_reference_decoder_cannot_read_back(example: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"OptionalRoutable: expected null, is an object|type: invalid presence: 1"
    ):
        from_json(message_class(example["message"]), as_go_writes(example["json"]))


@pytest.mark.parametrize("example", READABLE, ids=lambda example: example["message"])
def test_keys_match_whatever_their_case(example: dict[str, Any]) -> None:
    shouted = {key.upper(): value for key, value in example["json"].items()}

    assert encode(from_json(message_class(example["message"]), as_go_writes(shouted))).hex() == example["hex"]
