"""Whatever a tenant can type ends in a success or in InvalidRequest, and what was accepted can be read again.

Every text, route and number of a request that has everything is replaced in turn by odd ones. An UnknownError would be
a server that did not expect it; Cloud Controller then blames the platform, and tries again at each sync.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import trio
from google.protobuf.message import Message

from bbs.log import null_logger
from bbs.models import pb
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.memory_backend import Disk, MemoryBackend
from bbs.store.store import Store
from tests.databases import SomeDatabase
from tests.records import desired_message, task_definition
from tests.routes import cloud_controller as cc
from tests.routes.cloud_controller import CloudController
from tests.routes.conftest import KEYRING, Server, fail_on_dropped_row, serving_lrps
from tests.routes.odd_values import odd_requests

CONNECTIONS = 16

RUN = pb.Action(
    run_action=pb.RunAction(
        path="/bin/app",
        args=["a"],
        dir="d",
        env=[pb.EnvironmentVariable(name="n", value="v")],
        user="vcap",
        log_source="l",
        volume_mounted_files=[pb.File(path="f", content="c")],
    )
)
EVERYTHING: dict[str, Any] = {
    "environment_variables": [pb.EnvironmentVariable(name="n", value="v")],
    "cpu_weight": 1,
    "log_source": "APP",
    "annotation": "a",
    "egress_rules": [
        pb.SecurityGroupRule(protocol="tcp", destinations=["1.1.1.1"], ports=[1], log=True, annotations=["a"]),
        pb.SecurityGroupRule(protocol="udp", destinations=["::1"], port_range=pb.PortRange(start=1, end=2)),
        pb.SecurityGroupRule(protocol="icmp", destinations=["1.1.1.0/8"], icmp_info=pb.ICMPInfo(type=1, code=1)),
    ],
    "cached_dependencies": [pb.CachedDependency(name="n", to="t", cache_key="k", log_source="l", **{"from": "f"})],
    "legacy_download_user": "vcap",
    "trusted_system_certificates_path": "/etc",
    "volume_mounts": [
        pb.VolumeMount(
            driver="d", container_dir="c", mode="rw", shared=pb.SharedDevice(volume_id="v", mount_config="{}")
        )
    ],
    "network": pb.Network(properties={"policy_group_id": "g"}),
    "max_pids": 1,
    "certificate_properties": pb.CertificateProperties(organizational_unit=["o"]),
    "image_username": "u",
    "image_password": "p",
    "image_layers": [
        pb.ImageLayer(
            name="n", url="u", destination_path="p", layer_type=pb.ImageLayer.Type.EXCLUSIVE, media_type=pb.ImageLayer.MediaType.TGZ, digest_algorithm=pb.ImageLayer.DigestAlgorithm.SHA256, digest_value="v"
        )
    ],
    "log_rate_limit": pb.LogRateLimit(bytes_per_second=1),
    "volume_mounted_files": [pb.File(path="p", content="c")],
}  # fmt: skip


def desire(number: int) -> Message:
    lrp = desired_message(
        f"p-{number}",
        **EVERYTHING,
        setup=RUN,
        monitor=RUN,
        start_timeout_ms=1,
        ports=[8080],
        metrics_guid="app",
        PlacementTags=["segment"],
        routes=pb.ProtoRoutes(routes={"cf-router": b"[]", "internal-router": b"[]", "diego-ssh": b"{}"}),
        check_definition=pb.CheckDefinition(
            checks=[pb.Check(http_check=pb.HTTPCheck(port=1, path="/", request_timeout_ms=1, interval_ms=1))],
            readiness_checks=[pb.Check(tcp_check=pb.TCPCheck(port=1, connect_timeout_ms=1))],
            log_source="HEALTH",
        ),
        sidecars=[pb.Sidecar(action=RUN, disk_mb=1, memory_mb=1)],
        update_strategy=pb.DesiredLRP.UpdateStrategy.RECREATE,
    )
    lrp.metric_tags["index"].dynamic = pb.MetricTagValue.DynamicValue.INDEX
    lrp.action.CopyFrom(RUN)
    return pb.DesireLRPRequest(desired_lrp=lrp)


def update(number: int) -> Message:
    change = pb.DesiredLRPUpdate(
        instances=1,
        annotation="a",
        routes=pb.ProtoRoutes(routes={"cf-router": b"[]", "internal-router": b"[]"}),
        metric_tags={"source_id": pb.MetricTagValue(static="s")},
        image_username="u",
        image_password="p",
    )
    return pb.UpdateDesiredLRPRequest(process_guid=f"updated-{number}", update=change)


def desire_task(number: int) -> Message:
    definition = task_definition(
        **EVERYTHING,
        log_guid="l",
        metrics_guid="m",
        result_file="/result",
        completion_callback_url="https://capi/done",
        placement_tags=["segment"],
        metric_tags={"source_id": pb.MetricTagValue(static="s")},
    )
    return pb.DesireTaskRequest(task_guid=f"t-{number}", domain="cf-tasks", task_definition=definition)


def nothing_before(number: int) -> list[tuple[str, Message]]:
    return []


@dataclass(frozen=True, kw_only=True)
class Call:
    """``make`` makes the request for a number, ``before`` what has to be said before. Some errors of the wire are
    acceptable: an odd name names nothing, or what an odd
    value has made before."""

    path: str
    make: Callable[[int], Message]
    before: Callable[[int], list[tuple[str, Message]]] = nothing_before
    acceptable: frozenset[int] = frozenset({cc.INVALID_REQUEST})


UNKNOWN_NAME = frozenset({cc.INVALID_REQUEST, cc.RESOURCE_NOT_FOUND})
INSTANCE = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c1")
FILTER = pb.DesiredLRPsRequest(domain="d", process_guids=["p"], app_guids=["a"])
START = "/v1/actual_lrps/start.r1"


def start(number: int) -> pb.StartActualLRPRequest:
    return pb.StartActualLRPRequest(
        actual_lrp_key=pb.ActualLRPKey(process_guid=f"started-{number}", domain="d"),
        actual_lrp_instance_key=INSTANCE,
        actual_lrp_net_info=pb.ActualLRPNetInfo(
            address="a",
            instance_address="b",
            ports=[pb.PortMapping(host_port=1)],
            preferred_address=pb.ActualLRPNetInfo.PreferredAddress.INSTANCE,
        ),
        actual_lrp_internal_routes=[pb.ActualLRPInternalRoute(hostname="h")],
        metric_tags={"k": "v"},
        availability_zone="z",
    )


def crash(number: int) -> Message:
    key = pb.ActualLRPKey(process_guid=f"started-{number}", domain="d")
    return pb.CrashActualLRPRequest(
        actual_lrp_key=key, actual_lrp_instance_key=INSTANCE, error_message="exit 1"
    )


def complete(number: int) -> Message:
    return pb.CompleteTaskRequest(
        task_guid=f"t-{number}", cell_id="c1", failed=True, failure_reason="f", result="r"
    )


def task_running(number: int) -> list[tuple[str, Message]]:
    started = pb.StartTaskRequest(task_guid=f"t-{number}", cell_id="c1")
    return [(cc.DESIRE_TASK, desire_task(number)), ("/v1/tasks/start", started)]


def lrp_running(number: int) -> list[tuple[str, Message]]:
    lrp = pb.DesireLRPRequest(desired_lrp=desired_message(f"started-{number}", instances=0))
    return [(cc.DESIRE_LRP, lrp), (START, start(number))]


def updated_running(number: int) -> list[tuple[str, Message]]:
    """With an instance, whose routes and tags are compared with those desired."""
    lrp = pb.DesireLRPRequest(desired_lrp=desired_message(f"updated-{number}"))
    started = start(number)
    started.actual_lrp_key.process_guid = f"updated-{number}"
    return [(cc.DESIRE_LRP, lrp), (START, started)]


CALLS = [
    Call(path=cc.DESIRE_LRP, make=desire),
    Call(path=cc.UPDATE_LRP, make=update, before=updated_running, acceptable=UNKNOWN_NAME),
    Call(path=cc.DESIRE_TASK, make=desire_task),
    Call(path=cc.UPSERT_DOMAIN, make=lambda number: pb.UpsertDomainRequest(domain="d", ttl=1)),
    Call(path=cc.REMOVE_LRP, make=lambda number: pb.RemoveDesiredLRPRequest(process_guid="p"), acceptable=UNKNOWN_NAME),
    Call(path=cc.LRP_BY_GUID, make=lambda number: pb.DesiredLRPByProcessGuidRequest(process_guid="p"), acceptable=UNKNOWN_NAME),
    Call(path=cc.SCHEDULING_INFOS, make=lambda number: copy_of(FILTER)),
    Call(path="/v1/desired_lrps/list.r3", make=lambda number: copy_of(FILTER)),
    Call(path=cc.ACTUAL_LRPS, make=lambda number: pb.ActualLRPsRequest(domain="d", cell_id="c", process_guid="p")),
    Call(
        path=cc.RETIRE,
        make=lambda number: pb.RetireActualLRPRequest(actual_lrp_key=pb.ActualLRPKey(process_guid="p", domain="d")),
        acceptable=UNKNOWN_NAME,
    ),
    Call(path=cc.TASKS, make=lambda number: pb.TasksRequest(domain="d", cell_id="c")),
    Call(path=cc.TASK_BY_GUID, make=lambda number: pb.TaskByGuidRequest(task_guid="t"), acceptable=UNKNOWN_NAME),
    Call(path=cc.CANCEL_TASK, make=lambda number: pb.TaskGuidRequest(task_guid="t"), acceptable=UNKNOWN_NAME | {cc.INVALID_STATE_TRANSITION}),
    # What cells say of containers, in a tenant's words: hostnames and tags, exit texts, results.
    Call(path=START, make=start),
    Call(
        path="/v1/actual_lrps/crash",
        make=crash,
        before=lrp_running,
        acceptable=UNKNOWN_NAME | {pb.Error.ActualLRPCannotBeCrashed},
    ),
    Call(
        path="/v1/tasks/complete",
        make=complete,
        before=task_running,
        acceptable=UNKNOWN_NAME | {cc.INVALID_STATE_TRANSITION, pb.Error.RunningOnDifferentCell},
    ),
]  # fmt: skip


def copy_of(request: pb.DesiredLRPsRequest) -> Message:
    copy = pb.DesiredLRPsRequest()
    copy.CopyFrom(request)
    return copy


OpenBackend = Callable[[], Any]


@asynccontextmanager
async def in_memory() -> AsyncIterator[OpenBackend]:
    disk = Disk()
    yield lambda: MemoryBackend(disk, KEYRING, on_dropped=fail_on_dropped_row)


@asynccontextmanager
async def in_database(some_database: SomeDatabase) -> AsyncIterator[OpenBackend]:
    async with open_asyncio_loop(null_logger()):
        yield lambda: some_database.backend(KEYRING, on_dropped=fail_on_dropped_row)


async def test_no_text_is_an_unknown_error() -> None:
    await no_text_is_an_unknown_error(in_memory())


async def test_no_text_is_an_unknown_error_of_a_database(some_database: SomeDatabase) -> None:
    await no_text_is_an_unknown_error(in_database(some_database))


async def no_text_is_an_unknown_error(where: AbstractAsyncContextManager[OpenBackend]) -> None:
    async with where as open_backend:
        backend = open_backend()
        async with trio.open_nursery() as nursery:
            async with serving_lrps(backend, nursery, fast_lane=True) as server:
                answers = await ask_oddly(server)
            nursery.cancel_scope.cancel()
        await backend.aclose()

        assert not [answer for answer in answers if not answer.is_acceptable]
        assert len(answers) > 1_000
        assert {answer.error is None for answer in answers} == {True, False}

        backend = open_backend()
        await backend.acquire_writer_lock()
        reread = Store(backend, publish=lambda announcements: None)
        await reread.load()
        await backend.aclose()
        for before, after in zip(tables(server.store), tables(reread), strict=True):
            assert before
            assert before == after


def tables(store: Store) -> list[dict[Any, Any]]:
    rows = store.committed
    return [dict(table.rows) for table in (rows.actual_lrps, rows.desired_lrps, rows.domains, rows.tasks)]


@dataclass(frozen=True)
class Answered:
    about: str
    error: str | None
    is_acceptable: bool


async def ask_oddly(server: Server) -> list[Answered]:
    """Every call with every odd value, over a few connections at once so that they share transactions."""
    numbers = count(1)
    answers: list[Answered] = []

    def odd_calls() -> Iterator[tuple[Call, int, str, bytes]]:
        for call in CALLS:
            for number, name, body in odd_requests(call.make, numbers):
                yield call, number, name, body

    pending = odd_calls()

    async def work() -> None:
        connection = await CloudController.connect(server)
        for call, number, name, body in pending:
            for path, message in call.before(number):
                assert not (await connection.ask(path, message.SerializeToString())).startswith(b"\n"), path
            answer = pb.TaskLifecycleResponse.FromString(await connection.ask(call.path, body))
            error = answer.error if answer.HasField("error") else None
            text = None if error is None else f"{pb.Error.Type.Name(error.type)}: {error.message}"
            is_acceptable = error is None or error.type in call.acceptable
            answers.append(Answered(f"{call.path} {name}", text, is_acceptable))
        await connection.disconnect()

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(work)
    return answers
