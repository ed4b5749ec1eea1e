"""Which requests a run is made of: upstream's benchmark LRP, adapted to today's API (spec: benchmarks.md, 3 and 6).

A `Fleet` numbers its LRPs; LRP ``i`` lives on cell ``i % cells``. Whatever a fleet has encoded is ready to send, so that
nothing is encoded while the clock runs.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from bbs.models import pb
from perf.load import Target

DOMAIN: Final = "benchmark-bbs"
ZONE: Final = "z1"
LRPS_PER_CELL: Final = 500  # the size of a cell in the figures of the Go server

# As long as the RSA-1024 key in upstream's routes, and as incompressible; nobody can log in with it.
_KEY_LINES: Final = base64.encodebytes(hashlib.shake_256(b"benchmark-bbs").digest(625)).decode("ascii")
_SSH_ROUTE: Final = json.dumps(
    {
        "container_port": 2222,
        "host_fingerprint": ":".join(f"{i * 37 % 256:02x}" for i in range(16)),
        "private_key": f"-----BEGIN FILLER-----\n{_KEY_LINES}-----END FILLER-----\n",
    }
).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """``lrps`` LRPs of one instance each, to be sent to ``target``."""

    target: Target
    lrps: int
    prefix: str = "BENCHMARK-BBS-GUID-"

    @property
    def cells(self) -> int:
        return max(self.lrps // LRPS_PER_CELL, 1)

    def process_guid(self, number: int) -> str:
        return f"{self.prefix}{number:06d}"

    def cell_id(self, number: int) -> str:
        return f"cell-{number % self.cells}"

    def lrps_of_cell(self, cell: int) -> int:
        return len(range(cell, self.lrps, self.cells))

    def ping(self) -> bytes:
        return self.target.post("/v1/ping")

    def desires(self) -> list[bytes]:
        return self._each(
            "/v1/desired_lrp/desire.r2",
            lambda i: pb.DesireLRPRequest(desired_lrp=seed_lrp(self.process_guid(i))),
        )

    def desires_of(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """The same for some of them, made while they are sent: for fleets whose requests would not fit into memory."""
        first = self.process_guid(0)
        template = self._post("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=seed_lrp(first)))
        # All guids are of one length, so no length in the message changes.
        return (template.replace(first.encode(), self.process_guid(i).encode()) for i in numbers)

    def starts_of(self, numbers: Iterable[int]) -> Iterator[bytes]:
        return (self._start(i) for i in numbers)

    def claims_of(self, numbers: Iterable[int]) -> Iterator[bytes]:
        return (self._claim(i) for i in numbers)

    def removes_of(self, numbers: Iterable[int]) -> Iterator[bytes]:
        return (self._remove(i) for i in numbers)

    def stopped_of(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """What reps say once they have stopped instances: the ActualLRPs go."""
        return (
            self._post(
                "/v1/actual_lrps/remove",
                pb.RemoveActualLRPRequest(
                    process_guid=self.process_guid(i),
                    index=0,
                    actual_lrp_instance_key=self._instance_key(i),
                ),
            )
            for i in numbers
        )

    def claims(self) -> list[bytes]:
        """A write each, if the LRP is unclaimed or runs; none if it is claimed already."""
        return list(self.claims_of(range(self.lrps)))

    def starts(self) -> list[bytes]:
        """A write each, if the LRP is unclaimed or claimed; a heartbeat that changes nothing if it runs already."""
        return list(self.starts_of(range(self.lrps)))

    def crashes(self) -> list[bytes]:
        """A crash of each LRP. After its first two crashes an LRP is unclaimed and auctioned again, after the third CRASHED."""
        return self._each(
            "/v1/actual_lrps/crash",
            lambda i: pb.CrashActualLRPRequest(
                actual_lrp_key=self._key(i),
                actual_lrp_instance_key=self._instance_key(i),
                error_message="out of memory",
            ),
        )

    def removes(self) -> list[bytes]:
        return list(self.removes_of(range(self.lrps)))

    def changes_of_large(self, instances: int) -> list[tuple[str, bytes]]:
        """Requests that desire, scale and remove one process beside the fleet, by the name of the change and in order."""
        process_guid = f"{self.prefix}large"
        lrp = seed_lrp(process_guid)
        lrp.instances = instances

        def scale(to: int) -> bytes:
            update = pb.DesiredLRPUpdate(instances=to)
            return self._post(
                "/v1/desired_lrp/update",
                pb.UpdateDesiredLRPRequest(process_guid=process_guid, update=update),
            )

        return [
            (
                f"desire {instances:,} instances",
                self._post("/v1/desired_lrp/desire.r2", pb.DesireLRPRequest(desired_lrp=lrp)),
            ),
            ("scale to 1", scale(1)),
            (f"scale to {instances:,}", scale(instances)),
            (
                f"remove {instances:,} instances",
                self._post("/v1/desired_lrp/remove", pb.RemoveDesiredLRPRequest(process_guid=process_guid)),
            ),
        ]

    def desired_by_guid(self) -> list[bytes]:
        return self._each(
            "/v1/desired_lrps/get_by_process_guid.r3",
            lambda i: pb.DesiredLRPByProcessGuidRequest(process_guid=self.process_guid(i)),
        )

    def actual_lrps_of_cell(self, cell: int) -> bytes:
        return self._post("/v1/actual_lrps/list", pb.ActualLRPsRequest(cell_id=f"cell-{cell}"))

    def list_actual_lrps(self) -> bytes:
        return self._post("/v1/actual_lrps/list", pb.ActualLRPsRequest())

    def list_scheduling_infos(self) -> bytes:
        return self._post("/v1/desired_lrp_scheduling_infos/list", pb.DesiredLRPsRequest())

    def list_desired_lrps(self) -> bytes:
        return self._post("/v1/desired_lrps/list.r3", pb.DesiredLRPsRequest())

    def lists(self) -> dict[str, bytes]:
        """The lists of everything, by name: what the clients of a BBS ask for again and again."""
        return {
            "list ActualLRPs": self.list_actual_lrps(),
            "list scheduling infos": self.list_scheduling_infos(),
            "list DesiredLRPs": self.list_desired_lrps(),
        }

    def scheduling_infos_of(self, cell: int) -> bytes:
        """As a cell's route-emitter asks: by the guids of the processes that run there."""
        guids = [self.process_guid(i) for i in range(cell, self.lrps, self.cells)]
        return self._post("/v1/desired_lrp_scheduling_infos/list", pb.DesiredLRPsRequest(process_guids=guids))

    def list_of_domain(self) -> bytes:
        """All ActualLRPs of the fleet's domain: on a server that others use too, its own."""
        return self._post("/v1/actual_lrps/list", pb.ActualLRPsRequest(domain=DOMAIN))

    def list_cells(self) -> bytes:
        return self.target.post("/v1/cells/list.r1")

    def subscribe(self, cell: int | None = None) -> bytes:
        """Opens a stream of instance events, all of them or one cell's."""
        cell_id = "" if cell is None else f"cell-{cell}"
        return self._post("/v1/events/lrp_instances.r1", pb.EventsByCellId(cell_id=cell_id))

    def upsert_domain(self, ttl_s: int) -> bytes:
        return self._post("/v1/domains/upsert", pb.UpsertDomainRequest(domain=DOMAIN, ttl=ttl_s))

    def _claim(self, number: int) -> bytes:
        return self._post(
            "/v1/actual_lrps/claim",
            pb.ClaimActualLRPRequest(
                process_guid=self.process_guid(number),
                index=0,
                actual_lrp_instance_key=self._instance_key(number),
            ),
        )

    def start_request(self, number: int) -> pb.StartActualLRPRequest:
        return pb.StartActualLRPRequest(
            actual_lrp_key=self._key(number),
            actual_lrp_instance_key=self._instance_key(number),
            actual_lrp_net_info=NET_INFO,
            Routable=True,
            availability_zone=ZONE,
        )

    def _start(self, number: int) -> bytes:
        return self._post("/v1/actual_lrps/start.r1", self.start_request(number))

    def _remove(self, number: int) -> bytes:
        return self._post(
            "/v1/desired_lrp/remove", pb.RemoveDesiredLRPRequest(process_guid=self.process_guid(number))
        )

    def _key(self, number: int) -> pb.ActualLRPKey:
        return pb.ActualLRPKey(process_guid=self.process_guid(number), index=0, domain=DOMAIN)

    def _instance_key(self, number: int) -> pb.ActualLRPInstanceKey:
        return pb.ActualLRPInstanceKey(
            instance_guid=f"{self.process_guid(number)}-i", cell_id=self.cell_id(number)
        )

    def _post(self, path: str, message: Message) -> bytes:
        return self.target.post(path, message.SerializeToString())

    def _each(self, path: str, message: Callable[[int], Message]) -> list[bytes]:
        return [self._post(path, message(number)) for number in range(self.lrps)]


def field_of_state(state: str) -> bytes:
    """What stands in an encoded ActualLRP of that state, and in no other."""
    return pb.ActualLRP(state=state).SerializeToString()


NET_INFO: Final = pb.ActualLRPNetInfo(
    address="1.2.3.4",
    instance_address="2.2.2.2",
    preferred_address=pb.ActualLRPNetInfo.PreferredAddress.HOST,
    ports=[pb.PortMapping(container_port=8080, host_port=61999)],
)


def seed_lrp(process_guid: str) -> pb.DesiredLRP:
    """The LRP of upstream's benchmark: about 1,480 bytes encoded, as long as the original."""
    run = pb.Action(run_action=pb.RunAction(path="ls", user="name"))
    serial = pb.Action(serial_action=pb.SerialAction(actions=[run]))
    parallel = pb.Action(parallel_action=pb.ParallelAction(actions=[serial]))
    attempt = pb.Action(try_action=pb.TryAction(action=parallel))
    timed = pb.Action(timeout_action=pb.TimeoutAction(action=attempt, timeout_ms=10_000))
    monitor = pb.Action(
        emit_progress_action=pb.EmitProgressAction(
            action=timed,
            start_message="start message",
            success_message="success message",
            failure_message_prefix="failure message",
        )
    )
    return pb.DesiredLRP(
        process_guid=process_guid,
        domain=DOMAIN,
        root_fs="some:rootfs",
        instances=1,
        environment_variables=[pb.EnvironmentVariable(name="FOO", value="bar")],
        setup=run,
        action=run,
        monitor=monitor,
        start_timeout_ms=15_000,
        disk_mb=512,
        memory_mb=1024,
        cpu_weight=42,
        routes=pb.ProtoRoutes(
            routes={
                "my-router": b'[{"hostnames":["benchmark.example.com"],"port":80}]',
                "diego-ssh": _SSH_ROUTE,
            }
        ),
        log_source="some-log-source",
        log_guid="some-log-guid",
        metrics_guid="some-metrics-guid",
        metric_tags={"source_id": pb.MetricTagValue(static="some-metrics-guid")},
        annotation="created-at: 2026-11-01 12:00:00.000000000 +0000 UTC",
        egress_rules=[
            pb.SecurityGroupRule(
                protocol="tcp",
                destinations=["1.1.1.1/32", "2.2.2.2/32"],
                port_range=pb.PortRange(start=10, end=16_000),
            )
        ],
    )
