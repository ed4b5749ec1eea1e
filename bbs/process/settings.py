"""What both ways to start a server say of it, once their flags or file are read."""

from dataclasses import dataclass, field

from bbs.http.limits import Limits
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.lifecycle.task_convergence import TaskLimits
from bbs.service import PRESENCE_POLL_S, ServiceSettings
from bbs.store.health_check import HealthCheckSettings
from bbs.store.store import BATCH_ROWS_MAX, WRITE_RETRY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """Upstream's settings about tasks and the peers they need (spec: config.md §2.1, §2.2), with its deployed values.

    Durations are seconds. A ``communication_timeout_s`` of 0 means that calls to peers may take as long as they take.
    """

    max_task_retries: int = 3
    task_callback_workers: int = 1000
    communication_timeout_s: float = 10.0
    converge_repeat_interval_s: float = 30.0
    kick_task_duration_s: float = 30.0
    expire_pending_task_duration_s: float = 1800.0
    expire_completed_task_duration_s: float = 120.0

    def limits(self) -> TaskLimits:
        return TaskLimits(
            kick_ns=int(self.kick_task_duration_s * 1e9),
            expire_pending_ns=int(self.expire_pending_task_duration_s * 1e9),
            expire_completed_ns=int(self.expire_completed_task_duration_s * 1e9),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What both ways to start a server (``bbs serve`` and ``bbs -config``) say of it. Addresses are ``host:port``.

    Without ``health_address`` or ``debug_address`` there is no such port. With ``debug_any_port`` the debug port may be another one
    if somebody else has that of the address, and with ``dashboard`` it has the dashboard's pages.
    """

    listen_address: str
    health_address: str | None = None
    debug_address: str | None = None
    debug_any_port: bool = False
    dashboard: bool = False
    limits: Limits = field(default_factory=Limits)
    fast_lane: bool = True
    write_retry_s: float = WRITE_RETRY_S
    batch_rows_max: int = BATCH_ROWS_MAX
    update_workers: int = 1000
    desired_lrp_instances_max: int = INSTANCES_MAX
    convergence_workers: int = 20
    presence_poll_s: float = PRESENCE_POLL_S
    debug_lrp_start_heartbeats: bool = False
    health_check: HealthCheckSettings | None = None
    tasks: TaskSettings = field(default_factory=TaskSettings)

    def of_service(self) -> ServiceSettings:
        return ServiceSettings(
            write_retry_s=self.write_retry_s,
            batch_rows_max=self.batch_rows_max,
            update_workers=self.update_workers,
            convergence_workers=self.convergence_workers,
            converge_repeat_interval_s=self.tasks.converge_repeat_interval_s,
            presence_poll_s=self.presence_poll_s,
            desired_lrp_instances_max=self.desired_lrp_instances_max,
            max_task_retries=self.tasks.max_task_retries,
            task_limits=self.tasks.limits(),
            debug_lrp_start_heartbeats=self.debug_lrp_start_heartbeats,
        )
