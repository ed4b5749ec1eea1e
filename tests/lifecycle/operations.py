"""Everything that the server decides about one instance, by name: whoever asks, whatever its rows are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from bbs.lifecycle import actual_lrps, desired_lrps, evacuation, lrp_convergence, retirement, suspects
from bbs.lifecycle.desired_lrps import Circumstances
from bbs.lifecycle.rows import StartReport
from bbs.models.actual_lrp import InstanceKey, Rows
from bbs.models.desired_lrp import RECREATE, ROLLING, DesiredLRP
from bbs.models.errors import BBSError
from bbs.models.outcome import NOTHING, Outcome, RetireInstance
from tests.records import desired_lrp

from .notation import N1, R1, T1, N, read_net

CELLS: Final = frozenset({"c1", "c2"})
ROLLED: Final = desired_lrp(instances=1, update_strategy=ROLLING)
RECREATED: Final = desired_lrp(instances=1, update_strategy=RECREATE)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asks, and when. ``running`` ordinary rows of the process run. ``address`` is what a cell reports."""

    who: InstanceKey
    now_ns: int = N
    epoch: str = "new"
    running: int = 1
    address: str = "10.0.0.1"
    reason: str = "boom"

    @property
    def report(self) -> StartReport:
        return StartReport(
            process_guid="p",
            index=0,
            domain="d",
            instance=self.who,
            net_info=N1 if self.address == "10.0.0.1" else read_net(self.address),
            internal_routes=R1,
            metric_tags=T1,
            routable=True,
            availability_zone="z2",
        )

    @property
    def circumstances(self) -> Circumstances:
        return Circumstances(
            now_ns=self.now_ns, new_epoch=lambda: self.epoch, update_workers=1, trace_id="trace"
        )


Operation = Callable[[Rows, Asked], Outcome]


def asked(operation: Operation, rows: Rows, about: Asked) -> Outcome:
    """What is decided; a refusal changes nothing."""
    try:
        return operation(rows, about)
    except BBSError:
        return NOTHING


def _evacuate_running(desired: DesiredLRP | None, rows: Rows, about: Asked) -> Outcome:
    return evacuation.evacuate_running(
        rows,
        about.report,
        desired,
        running=lambda: about.running,
        now_ns=about.now_ns,
        epoch=about.epoch,
    ).outcome


def _retire(rows: Rows, about: Asked, *, is_told: bool) -> Outcome:
    outcome = retirement.retire(rows, trace_id="trace")
    for effect in outcome.effects:
        assert isinstance(effect, RetireInstance)
        return retirement.without_cell(effect, rows, is_told=is_told)
    return outcome


def _start_range(rows: Rows, about: Asked) -> Outcome:
    return replace(
        desired_lrps.start_range(ROLLED, range(1), rows.present(), about.circumstances), effects=()
    )


OPERATIONS: Final[Mapping[str, Operation]] = {
    "claim": lambda rows, about: actual_lrps.claim(rows, about.who, now_ns=about.now_ns),
    "start": lambda rows, about: actual_lrps.start(
        rows, about.report, now_ns=about.now_ns, epoch=about.epoch
    ),
    "crash": lambda rows, about: actual_lrps.crash(
        rows, about.who, about.reason, is_desired=True, now_ns=about.now_ns
    ),
    "fail": lambda rows, about: actual_lrps.fail(rows, about.reason, now_ns=about.now_ns),
    "remove": lambda rows, about: actual_lrps.remove(rows, None),
    "retire": partial(_retire, is_told=False),
    "retire, told before": partial(_retire, is_told=True),
    "desire or scale up": _start_range,
    "scale down": lambda rows, about: desired_lrps.stop_from(0, rows.present(), trace_id="trace"),
    "remove evacuating": lambda rows, about: evacuation.remove_evacuating(rows, about.who),
    "evacuate claimed": lambda rows, about: (
        evacuation.evacuate_claimed(rows, about.who, now_ns=about.now_ns).outcome
    ),
    "evacuate crashed": lambda rows, about: (
        evacuation.evacuate_crashed(rows, about.who, about.reason, now_ns=about.now_ns).outcome
    ),
    "evacuate stopped": lambda rows, about: evacuation.evacuate_stopped(rows, about.who).outcome,
    "evacuate running": partial(_evacuate_running, ROLLED),
    "evacuate running, recreate": partial(_evacuate_running, RECREATED),
    "evacuate running, undesired": partial(_evacuate_running, None),
    "create missing": lambda rows, about: lrp_convergence.create_missing(
        rows, ROLLED, 0, now_ns=about.now_ns, epoch=about.epoch
    ),
    "place again": lambda rows, about: lrp_convergence.place_again(rows, ROLLED, now_ns=about.now_ns),
    "prune evacuating": lambda rows, about: lrp_convergence.prune_evacuating(
        rows, CELLS - {about.who.cell_id}
    ),
    "displace": lambda rows, about: suspects.displace(
        rows, ROLLED, CELLS - {about.who.cell_id}, now_ns=about.now_ns, epoch=about.epoch
    ),
    "promote": lambda rows, about: suspects.promote(rows, CELLS | {about.who.cell_id}),
    "remove suspect": lambda rows, about: suspects.remove_suspect(rows, ROLLED),
    "remove suspect, undesired": lambda rows, about: suspects.remove_suspect(rows, None),
}
