"""Records for tests: what a case does not care about is filled in."""

from dataclasses import dataclass
from typing import Any

from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, ModificationTag, Presence
from bbs.models.desired_lrp import DesiredLRP, desired_lrp_from_message
from bbs.models.domain import Domain
from bbs.models.outcome import Record, RowKey
from bbs.models.task import Task, TaskState
from bbs.models.wire import encode
from bbs.store.scopes import Scope
from bbs.store.store import Store
from bbs.testing import desired_message, task_definition

__all__ = [
    "A_AT_C1", "TAG", "AnyScope", "actual_lrp", "desired_lrp", "desired_message", "net_info", "scope_of", "task", "task_definition",
]  # fmt: skip

TAG = ModificationTag(epoch="e", index=0)
A_AT_C1 = InstanceKey(instance_guid="a", cell_id="c1")


def actual_lrp(
    process_guid: str = "p", index: int = 0, presence: Presence = Presence.ORDINARY, **fields: Any
) -> ActualLRP:
    given: dict[str, Any] = {"domain": "d", "state": ActualLRPState.UNCLAIMED, "since_ns": 1, "tag": TAG}
    return ActualLRP(process_guid=process_guid, index=index, presence=presence, **(given | fields))


def desired_lrp(process_guid: str = "p", **fields: Any) -> DesiredLRP:
    return desired_lrp_from_message(desired_message(process_guid, **fields), tag=TAG, created_at_ns=1)


def net_info(address: str = "10.0.0.1") -> bytes:
    return encode(pb.ActualLRPNetInfo(address=address))


def task(task_guid: str = "t", state: TaskState = TaskState.Pending, *, url: str = "", **fields: Any) -> Task:
    given: dict[str, Any] = {
        "domain": "d",
        "created_at_ns": 1,
        "updated_at_ns": 1,
        "definition": encode(task_definition(completion_callback_url=url)),
    }
    return Task(task_guid=task_guid, state=state, **(given | fields))


@dataclass(frozen=True)
class AnyScope:
    """A scope of a test's own, in which any rows may be written: those that are simply to be there."""

    store: Store
    key: str = "a test"

    def holds(self, key: RowKey) -> bool:
        return True


def scope_of(store: Store, record: Record) -> Scope:
    """The scope in which a server would decide about ``record``."""
    match record:
        case ActualLRP(process_guid=process_guid) | DesiredLRP(process_guid=process_guid):
            return store.process(process_guid)
        case Task(task_guid=task_guid):
            return store.task(task_guid)
        case Domain(name=name):
            return store.domain(name)
