"""How each field shows in JSON, read from the options of the .proto files."""

from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bbs.models.go_json._raw import quote
from bbs.models.pb import wire_options_pb2
from bbs.models.wire import is_always_written, is_map, option


@dataclass(frozen=True, slots=True)
class Tag:
    """A Go struct tag. ``member`` is the key as it stands before a value."""

    key: str
    omit_empty: bool
    member: str

    @classmethod
    def parse(cls, text: str) -> "Tag":
        key, _, options = text.partition(",")
        return cls(key, options == "omitempty", f"{quote(key)}:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A field and its JSON. ``in_oneof`` is the tag inside the object that JSON shows the field's oneof as."""

    field: FieldDescriptor
    name: str
    is_repeated: bool
    has_presence: bool
    tag: Tag
    in_oneof: Tag | None
    is_always_written: bool
    is_flattened: bool
    is_map: bool
    is_routes: bool
    shows_empty_map: bool

    @property
    def element(self) -> FieldDescriptor:
        """What describes one value: the field itself, or the values of a map."""
        if self.is_map:
            assert self.field.message_type is not None
            return self.field.message_type.fields_by_name["value"]
        return self.field


@cache
def forms(descriptor: Descriptor) -> tuple[Form, ...]:
    """A message's fields in the order of their keys, which is the order of declaration."""
    return tuple(_form(field) for field in descriptor.fields)


def is_routes(field: FieldDescriptor) -> bool:
    """Whether JSON shows the field as an object of raw JSON documents."""
    shown_raw: bool = option(field, wire_options_pb2.json_routes)
    return shown_raw


def _form(field: FieldDescriptor) -> Form:
    tag = option(field, wire_options_pb2.json) or f"{field.name},omitempty"
    in_oneof = option(field, wire_options_pb2.json_in_oneof)
    return Form(
        field=field,
        name=field.name,
        is_repeated=field.is_repeated,
        has_presence=field.has_presence,
        tag=Tag.parse(tag),
        in_oneof=Tag.parse(in_oneof) if in_oneof else None,
        is_always_written=is_always_written(field),
        is_flattened=option(field, wire_options_pb2.json_flattened),
        is_map=is_map(field),
        is_routes=is_routes(field),
        shows_empty_map=option(field, wire_options_pb2.json_empty_map),
    )
