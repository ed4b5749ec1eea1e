from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor
ALWAYS_WRITTEN_FIELD_NUMBER: _ClassVar[int]
always_written: _descriptor.FieldDescriptor
JSON_FIELD_NUMBER: _ClassVar[int]
json: _descriptor.FieldDescriptor
JSON_FLATTENED_FIELD_NUMBER: _ClassVar[int]
json_flattened: _descriptor.FieldDescriptor
JSON_IN_ONEOF_FIELD_NUMBER: _ClassVar[int]
json_in_oneof: _descriptor.FieldDescriptor
JSON_ROUTES_FIELD_NUMBER: _ClassVar[int]
json_routes: _descriptor.FieldDescriptor
JSON_EMPTY_MAP_FIELD_NUMBER: _ClassVar[int]
json_empty_map: _descriptor.FieldDescriptor
JSON_ENUM_NOUN_FIELD_NUMBER: _ClassVar[int]
json_enum_noun: _descriptor.FieldDescriptor
JSON_ENUM_LENIENT_FIELD_NUMBER: _ClassVar[int]
json_enum_lenient: _descriptor.FieldDescriptor
