"""The data of operations' lines, from their requests: the keys that upstream's lines have.

Filters have Go's field names, keys of LRPs those of their JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP
from bbs.models.wire import decode

Data = dict[str, object]

_PREFERRED_ADDRESSES: Final[Mapping[int, str]] = {
    number: name for name, number in pb.ActualLRPNetInfo.PreferredAddress.items()
}


GUIDS_LOGGED_MAX: Final = 2_000
"""Guids of one list that are logged; a line has no room for more (`bbs.log.bounds`)."""


def _some(guids: Sequence[str]) -> list[str]:
    return list(guids[:GUIDS_LOGGED_MAX])


class _Key(Protocol):
    @property
    def process_guid(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def domain(self) -> str: ...


def key(key: _Key) -> Data:
    """The key of an instance, from its row or from the key in a request."""
    return {"process_guid": key.process_guid, "index": key.index, "domain": key.domain}


class _InstanceKey(Protocol):
    @property
    def instance_guid(self) -> str: ...
    @property
    def cell_id(self) -> str: ...


def instance(key: _InstanceKey) -> Data:
    return {"instance_guid": key.instance_guid, "cell_id": key.cell_id}


def net_info(message: pb.ActualLRPNetInfo) -> Data:
    """A net info as `bbs.models.go_json` would show it, written out because that is ten times as fast: every start has one."""
    data: Data = {
        "address": message.address,
        "ports": [
            {
                "container_port": port.container_port,
                "host_port": port.host_port,
                "container_tls_proxy_port": port.container_tls_proxy_port,
                "host_tls_proxy_port": port.host_tls_proxy_port,
            }
            for port in message.ports
        ]
        or None,
        "preferred_address": _PREFERRED_ADDRESSES.get(message.preferred_address)
        or str(int(message.preferred_address)),
    }
    if message.instance_address:
        data["instance_address"] = message.instance_address
    if message.instance_ipv6_address:
        data["instance_ipv6_address"] = message.instance_ipv6_address
    return data


def claim(request: pb.ClaimActualLRPRequest) -> Data:
    return {
        "process_guid": request.process_guid,
        "index": request.index,
        "instance_key": instance(request.actual_lrp_instance_key),
    }


def start(request: pb.StartActualLRPRequest) -> Data:
    return {
        "actual_lrp_key": key(request.actual_lrp_key),
        "actual_lrp_instance_key": instance(request.actual_lrp_instance_key),
        "net_info": net_info(request.actual_lrp_net_info),
        "routable": request.Routable if request.HasField("Routable") else True,
    }


def evacuation(request: pb.EvacuateRunningActualLRPRequest) -> Data:
    return {
        "lrp_key": key(request.actual_lrp_key),
        "instance_key": instance(request.actual_lrp_instance_key),
        "net_info": net_info(request.actual_lrp_net_info),
        "routable": request.Routable if request.HasField("Routable") else True,
    }


def evacuated(lrp: ActualLRP) -> Data:
    """The data of `evacuation`, taken from the row in place of the request."""
    return {
        "lrp_key": key(lrp),
        "instance_key": instance(lrp.instance),
        "net_info": net_info(pb.ActualLRPNetInfo.FromString(lrp.net_info)),
        "routable": lrp.routable,
    }


def crash(request: pb.CrashActualLRPRequest | pb.EvacuateCrashedActualLRPRequest) -> Data:
    return {
        "key": key(request.actual_lrp_key),
        "instance_key": instance(request.actual_lrp_instance_key),
        "crash_reason": request.error_message,
    }


def fail(request: pb.FailActualLRPRequest) -> Data:
    return {"actual_lrp_key": key(request.actual_lrp_key), "placement_error": request.error_message}


def retire(request: pb.RetireActualLRPRequest) -> Data:
    key = request.actual_lrp_key
    return {"process_guid": key.process_guid, "index": key.index}


class _ByIndex(Protocol):
    @property
    def process_guid(self) -> str: ...
    @property
    def index(self) -> int: ...


def by_index(request: _ByIndex) -> Data:
    return {"process_guid": request.process_guid, "index": request.index}


class _ByProcessGuid(Protocol):
    @property
    def process_guid(self) -> str: ...


def by_process_guid(request: _ByProcessGuid) -> Data:
    return {"process_guid": request.process_guid}


def desire(request: pb.DesireLRPRequest) -> Data:
    return {"process_guid": request.desired_lrp.process_guid}


class _ByTaskGuid(Protocol):
    @property
    def task_guid(self) -> str: ...


def task(request: _ByTaskGuid) -> Data:
    return {"task_guid": request.task_guid}


class _ByTaskGuidAndCell(Protocol):
    @property
    def task_guid(self) -> str: ...
    @property
    def cell_id(self) -> str: ...


def task_on_cell(request: _ByTaskGuidAndCell) -> Data:
    return {"task_guid": request.task_guid, "cell_id": request.cell_id}


def rejected_task(request: pb.RejectTaskRequest) -> Data:
    return {"guid": request.task_guid, "task_guid": request.task_guid}


def tasks(request: pb.TasksRequest) -> Data:
    return {"filter": {"Domain": request.domain, "CellID": request.cell_id}}


def domain(request: pb.UpsertDomainRequest) -> Data:
    return {"domain": request.domain, "ttl": request.ttl}


def actual_lrps(request: pb.ActualLRPsRequest) -> Data:
    return {
        "filter": {
            "CellID": request.cell_id,
            "Domain": request.domain,
            "ProcessGuid": request.process_guid,
            "Index": request.index if request.HasField("index") else None,
        }
    }


def groups(request: pb.ActualLRPGroupsRequest) -> Data:
    return {"filter": {"CellID": request.cell_id, "Domain": request.domain, "ProcessGuid": "", "Index": None}}


def groups_of(request: pb.ActualLRPGroupsByProcessGuidRequest) -> Data:
    return {"filter": {"CellID": "", "Domain": "", "ProcessGuid": request.process_guid, "Index": None}}


def group_at(request: _ByIndex) -> Data:
    return {
        "filter": {"CellID": "", "Domain": "", "ProcessGuid": request.process_guid, "Index": request.index}
    }


def process_guids(request: pb.ActualLRPsByProcessGuidsRequest) -> Data:
    return {"filter": {"ProcessGuids": _some(request.process_guids) or None}}


def desired_lrps(request: pb.DesiredLRPsRequest) -> Data:
    return {
        "filter": {
            "Domain": request.domain,
            "ProcessGuids": _some(request.process_guids) or None,
            "AppGuids": _some(request.app_guids) or None,
        }
    }


def subscription(body: bytes) -> Data:
    return {"cell_id": decode(pb.EventsByCellId, body).cell_id}


def task_subscription(body: bytes) -> Data:
    return {}
