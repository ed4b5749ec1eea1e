"""The JSON of the Go components: what cfdot prints, Locket holds of a cell, and two database columns contain.

Not protobuf's canonical JSON: keys are Go struct tags, 64-bit numbers are numbers, embedded messages lie flat in their
parent, and each enum has its own idea (spec: wire-messages.json). The .proto files carry all of it as options, which
is what the code here goes by.
"""

from bbs.models.go_json._decode import FieldWrong, field_of_key, from_json
from bbs.models.go_json._encode import to_json
from bbs.models.go_json._forms import is_routes
from bbs.models.go_json._raw import compact_raw_json, quote

__all__ = ["FieldWrong", "compact_raw_json", "field_of_key", "from_json", "is_routes", "quote", "to_json"]
