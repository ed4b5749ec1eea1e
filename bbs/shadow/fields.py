"""What a difference looks like in a report: the fields that differ, with their values, and without secrets.

Values are masked unless they are known to be harmless: numbers, and the texts in `SHOWN`. So a field that upstream adds one day
is masked until somebody has looked at it. Whatever users choose the contents of may have a password in it: environments,
arguments, routes, URLs, annotations, files. A masked value has a mark that is the same for the same value in one report,
made with a key that nobody ever sees.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from bbs.log import Redaction
from bbs.log.redaction import MASK

FIELDS_MAX: Final = 20
"""Fields shown of one difference."""

TEXT_MAX: Final = 200
"""Characters shown of one value."""

SHOWN: Final = frozenset((
    "models.ActualLRPKey.process_guid", "models.ActualLRPKey.domain",
    "models.ActualLRPInstanceKey.instance_guid", "models.ActualLRPInstanceKey.cell_id",
    "models.ActualLRPNetInfo.address", "models.ActualLRPNetInfo.instance_address",
    "models.ActualLRPNetInfo.instance_ipv6_address",
    "models.ActualLRP.crash_reason", "models.ActualLRP.state", "models.ActualLRP.placement_error",
    "models.ActualLRP.availability_zone",
    "models.ActualLRPInfo.crash_reason", "models.ActualLRPInfo.state", "models.ActualLRPInfo.placement_error",
    "models.ActualLRPInfo.availability_zone",
    "models.ActualLRPCrashedEvent.crash_reason",
    "models.ActualLRPInternalRoute.hostname",
    "models.ModificationTag.epoch",
    "models.CellPresence.cell_id", "models.CellPresence.rep_address", "models.CellPresence.zone",
    "models.CellPresence.placement_tags", "models.CellPresence.optional_placement_tags",
    "models.CellPresence.rep_url", "models.Provider.name",
    "models.DesiredLRP.process_guid", "models.DesiredLRP.domain", "models.DesiredLRP.log_guid",
    "models.DesiredLRP.log_source", "models.DesiredLRP.metrics_guid", "models.DesiredLRP.PlacementTags",
    "models.DesiredLRPKey.process_guid", "models.DesiredLRPKey.domain", "models.DesiredLRPKey.log_guid",
    "models.DesiredLRPSchedulingInfo.PlacementTags",
    "models.Task.task_guid", "models.Task.domain", "models.Task.cell_id",
    "models.TaskDefinition.log_guid", "models.TaskDefinition.log_source", "models.TaskDefinition.metrics_guid",
    "models.TaskDefinition.placement_tags",
    "models.UpsertDomainRequest.domain",
    "models.VolumePlacement.driver_names", "models.VolumeMount.driver", "models.VolumeMount.mode",
))  # fmt: skip
"""The texts that are shown: names and guids that Diego gives or goes by, states, and what components say of themselves."""

PLAIN_NAME: Final = re.compile(r"[\w.-]{1,64}")
"""The key of a map that is shown as it is."""


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """``None`` on a side where the field is not set."""

    path: str
    master: str | None
    follower: str | None


class Shower:
    """Shows values. One is made for each report: marks of different ones say nothing about each other."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._redaction = Redaction()

    def text(self, value: str) -> str:
        """A text that may be shown, unless it looks like a secret all the same."""
        cut = value if len(value) <= TEXT_MAX else value[:TEXT_MAX] + "…"
        shown = self._redaction.apply({"value": value})["value"]
        return json.dumps(cut, ensure_ascii=False) if shown == value else self.masked(value.encode())

    def masked(self, value: bytes) -> str:
        return f"{MASK} #{blake2b(value, key=self._key, digest_size=4).hexdigest()}"

    def differing(
        self, master: Message | None, follower: Message | None, *, fields_max: int = FIELDS_MAX
    ) -> tuple[FieldDifference, ...]:
        """The fields whose values differ, ``fields_max`` at the most, by their order in the message."""
        mine = {} if master is None else dict(self._leaves(master, ""))
        other = {} if follower is None else dict(self._leaves(follower, ""))
        paths = [path for path in (mine | other) if mine.get(path) != other.get(path)]
        return tuple(
            FieldDifference(path, _shown(mine.get(path)), _shown(other.get(path)))
            for path in paths[:fields_max]
        )

    def _leaves(self, message: Message, prefix: str) -> Iterator[tuple[str, tuple[Any, str]]]:
        """Each value that is set, by the path to it: as it is, to be compared, and as it is shown."""
        for field, value in message.ListFields():
            path = f"{prefix}{field.name}"
            if _is_map(field):
                for key in sorted(value):
                    entry = key if PLAIN_NAME.fullmatch(str(key)) else self.masked(str(key).encode())
                    yield from self._of(_value_field(field), value[key], f"{path}[{entry}]", field)
            elif _is_repeated(field):
                for number, each in enumerate(value):
                    yield from self._of(field, each, f"{path}[{number}]", field)
            else:
                yield from self._of(field, value, path, field)
        unknown = UnknownFieldSet(message)
        for number in range(len(unknown)):
            found = unknown[number]
            path = f"{prefix}(field {found.field_number}, which is not known here)"
            data = repr(found.data).encode()
            yield path, (data, self.masked(data))

    def _of(
        self, field: FieldDescriptor, value: Any, path: str, named: FieldDescriptor
    ) -> Iterator[tuple[str, tuple[Any, str]]]:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            leaves = list(self._leaves(value, f"{path}."))
            yield from leaves or [(path, ("", "(empty)"))]
        elif field.type == FieldDescriptor.TYPE_STRING and named.full_name in SHOWN:
            yield path, (value, self.text(value))
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield path, (value, self.masked(value.encode()))
        elif field.type == FieldDescriptor.TYPE_BYTES:
            yield path, (value, self.masked(value))
        elif field.type == FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            known = field.enum_type.values_by_number.get(value)
            yield path, (value, known.name if known is not None else str(value))
        else:
            yield path, (value, json.dumps(value))


def _shown(leaf: tuple[Any, str] | None) -> str | None:
    return None if leaf is None else leaf[1]


def _is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _value_field(field: FieldDescriptor) -> FieldDescriptor:
    assert field.message_type is not None
    return field.message_type.fields_by_name["value"]
