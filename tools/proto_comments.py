"""The messages of bbs/models/pb with what their .proto files say of them."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PB: Final = Path("bbs/models/pb")

# Numbers of fields in descriptor.proto: the parts of a path to what a comment is of.
_MESSAGES, _ENUMS = 4, 5
_FIELDS, _NESTED_MESSAGES, _NESTED_ENUMS = 2, 3, 4
_VALUES = 2

Where = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """``type`` is as in the .proto file; ``message`` is the name of the message or enum that it is of, if it is of one of ours."""

    number: int
    name: str
    label: str
    type: str
    message: str
    comment: str
    is_deprecated: bool


@dataclass(frozen=True, slots=True)
class Message:
    """``name`` is without its package; that of a nested one has that of its parent before it, and a dot."""

    name: str
    file: str
    comment: str
    fields: Sequence[Field]
    is_deprecated: bool


@dataclass(frozen=True, slots=True)
class Value:
    number: int
    name: str
    comment: str
    is_deprecated: bool


@dataclass(frozen=True, slots=True)
class Enum:
    name: str
    file: str
    comment: str
    values: Sequence[Value]


def read_protos(names: Sequence[str]) -> list[Message | Enum]:
    """All messages and enums of these files of bbs/models/pb (``actual_lrp``), each behind the one that it is nested in.

    Raises:
      ValueError: protoc does not take them.
    """
    found: list[Message | Enum] = []
    for file in _compiled(names):
        comments = {
            tuple(location.path): " ".join(location.leading_comments.split())
            for location in file.source_code_info.location
        }
        for number, message in enumerate(file.message_type):
            found += _messages(message, (_MESSAGES, number), "", file, comments)
        for number, enum in enumerate(file.enum_type):
            found.append(_enum(enum, (_ENUMS, number), "", file, comments))
    return found


def _compiled(names: Sequence[str]) -> list[FileDescriptorProto]:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "descriptors"
        arguments = ["protoc", f"-I{REPOSITORY}", f"-I{Path(protoc.__file__).parent / '_proto'}"]
        arguments += ["--include_source_info", f"--descriptor_set_out={output}"]
        if protoc.main([*arguments, *(f"{PB}/{name}.proto" for name in names)]) != 0:
            raise ValueError("protoc refused the .proto files")
        return list(FileDescriptorSet.FromString(output.read_bytes()).file)


def _messages(
    message: DescriptorProto, where: Where, parent: str, file: FileDescriptorProto, comments: dict[Where, str]
) -> Iterator[Message | Enum]:
    name = f"{parent}{message.name}"
    maps = {each.name: each for each in message.nested_type if each.options.map_entry}
    yield Message(
        name=name,
        file=file.name,
        comment=comments.get(where, ""),
        fields=[
            _field(field, message, maps, comments.get((*where, _FIELDS, number), ""))
            for number, field in enumerate(message.field)
        ],
        is_deprecated=message.options.deprecated,
    )
    for number, enum in enumerate(message.enum_type):
        yield _enum(enum, (*where, _NESTED_ENUMS, number), f"{name}.", file, comments)
    for number, nested in enumerate(message.nested_type):
        if nested.name not in maps:
            yield from _messages(nested, (*where, _NESTED_MESSAGES, number), f"{name}.", file, comments)


def _field(
    field: FieldDescriptorProto, message: DescriptorProto, maps: dict[str, DescriptorProto], comment: str
) -> Field:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = entry.field
        label, type_name, named = "", f"map<{_type(key)}, {_type(value)}>", _named(value)
    else:
        is_repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        label = "repeated" if is_repeated else "optional" if field.HasField("oneof_index") else ""
        type_name, named = _type(field), _named(field)
    return Field(
        number=field.number,
        name=field.name,
        label=label,
        type=type_name,
        message=named,
        comment=comment,
        is_deprecated=field.options.deprecated,
    )


def _type(field: FieldDescriptorProto) -> str:
    return _named(field) or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _named(field: FieldDescriptorProto) -> str:
    """``.models.Error.Type``: Error.Type. '' for a number, a text and the like."""
    return field.type_name.removeprefix(".models.")


def _enum(
    enum: EnumDescriptorProto,
    where: Where,
    parent: str,
    file: FileDescriptorProto,
    comments: dict[Where, str],
) -> Enum:
    return Enum(
        name=f"{parent}{enum.name}",
        file=file.name,
        comment=comments.get(where, ""),
        values=[
            Value(
                number=value.number,
                name=value.name,
                comment=comments.get((*where, _VALUES, number), ""),
                is_deprecated=value.options.deprecated,
            )
            for number, value in enumerate(enum.value)
        ],
    )
