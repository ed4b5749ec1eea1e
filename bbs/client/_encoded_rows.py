"""Lists whose rows stay encoded: whoever lists a hundred thousand of them decodes them when it suits.

On the wire a repeated message, or string, looks as a repeated ``bytes`` does, and every list has its rows in field 2.
"""

from enum import Enum
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bbs.client import _routes as routes
from bbs.client._routes import Route
from bbs.models import pb


class RowsOf(Enum):
    """What can be listed so."""

    ACTUAL_LRPS = "ActualLRPs"
    ACTUAL_LRP_GROUPS = "ActualLRPGroups"
    DESIRED_LRPS = "DesiredLRPs"
    DESIRED_LRP_SCHEDULING_INFOS = "DesiredLRPSchedulingInfos"
    DESIRED_LRP_ROUTING_INFOS = "DesiredLRPRoutingInfos"
    TASKS = "Tasks"
    DOMAINS = "Domains"
    CELLS = "Cells"


def _list_response() -> type[Any]:
    """The class of a message that any list can be read as: with its error, and rows that nobody has decoded."""
    error = pb.Error.DESCRIPTOR
    file = descriptor_pb2.FileDescriptorProto(
        name="bbs/client/encoded_rows.proto",
        package="bbs.client",
        syntax="proto3",
        dependency=[error.file.name],
    )
    message = file.message_type.add(name="EncodedRows")
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(
        name="error",
        number=1,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_MESSAGE,
        type_name=f".{error.full_name}",
    )
    message.field.add(name="rows", number=2, label=field.LABEL_REPEATED, type=field.TYPE_BYTES)
    added = descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(added.message_types_by_name["EncodedRows"])


_RESPONSE: Final = _list_response()

_LISTS: Final[dict[RowsOf, Route[Any]]] = {
    RowsOf.ACTUAL_LRPS: routes.ACTUAL_LRPS,
    RowsOf.ACTUAL_LRP_GROUPS: routes.ACTUAL_LRP_GROUPS,
    RowsOf.DESIRED_LRPS: routes.DESIRED_LRPS,
    RowsOf.DESIRED_LRP_SCHEDULING_INFOS: routes.DESIRED_LRP_SCHEDULING_INFOS,
    RowsOf.DESIRED_LRP_ROUTING_INFOS: routes.DESIRED_LRP_ROUTING_INFOS,
    RowsOf.TASKS: routes.TASKS,
    RowsOf.DOMAINS: routes.DOMAINS,
    RowsOf.CELLS: routes.CELLS,
}
ROUTES: Final[dict[RowsOf, Route[Any]]] = {
    rows: Route(route.name, route.path, _RESPONSE) for rows, route in _LISTS.items()
}
