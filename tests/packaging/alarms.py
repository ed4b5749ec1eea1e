"""What has each alarm of ``packaging/prometheus`` fire, and what is close to it and does not.

Series are in promtool's notation, a value for each minute: ``5x40`` stays at 5, ``0+2x40`` grows by 2 a minute, ``_`` is none. Those
without labels are of the master ``a``.
"""

from dataclasses import dataclass, field
from typing import Final

Series = dict[str, str]

AT: Final = "40m"
"""When it is asked which alarms fire."""

MASTER: Final = 'job="bbs",instance="a"'
FOLLOWER: Final = 'job="bbs-follower",instance="c"'
STANDBY: Final = 'job="bbs",instance="b"'
INFINITE: Final = " ".join(["Inf"] * 41)  # the notation repeats numbers only
HELD: Final = {"bbs_lock_held": "1x40"}


@dataclass(frozen=True)
class Case:
    """``fires`` with ``quiet``'s series for all that it does not have itself, as ``quiet`` has ``fires``'."""

    alert: str
    fires: Series
    quiet: Series
    always: Series = field(default_factory=dict)

    def series(self, *, is_firing: bool) -> dict[str, str]:
        """By names with labels, as promtool wants them."""
        given = self.always | (self.fires if is_firing else self.quiet)
        return {name if "{" in name else f"{name}{{{MASTER}}}": values for name, values in given.items()}


def buckets(name: str, slow: int, *, bound: str, labels: str = MASTER) -> Series:
    """A histogram of 100 values a minute, of which so many are above ``bound``."""
    return {
        f'{name}_bucket{{{labels},le="{bound}"}}': f"0+{100 - slow}x40",
        f'{name}_bucket{{{labels},le="30.0"}}': "0+100x40",
        f'{name}_bucket{{{labels},le="+Inf"}}': "0+100x40",
    }


SOME_TIME_S: Final = 40 * 60
DAY_S: Final = 86_400
EXPIRY: Final = f'bbs_certificate_expiry_timestamp_seconds{{{MASTER},file="server.crt"}}'
ROUTE: Final = f'{MASTER},route="StartActualLRP"'

CASES: Final = (
    Case(
        "BBSWithoutMaster",
        {f"bbs_lock_held{{{MASTER}}}": "1x35 0x5", f"bbs_lock_held{{{STANDBY}}}": "0x40"},
        {f"bbs_lock_held{{{MASTER}}}": "1x35 0x5", f"bbs_lock_held{{{STANDBY}}}": "0x36 1x5"},
    ),
    Case("BBSWithoutMaster", {'up{job="bbs",instance="a"}': "0x40"}, {"bbs_lock_held": "1x40"}),
    Case(
        "BBSWithSeveralMasters",
        {f"bbs_lock_held{{{MASTER}}}": "1x40", f"bbs_lock_held{{{STANDBY}}}": "0x35 1x5"},
        {f"bbs_lock_held{{{MASTER}}}": "1x39 1", f"bbs_lock_held{{{STANDBY}}}": "0x38 1x2"},
    ),
    Case("BBSInstanceDown", {"up": "1x30 0x10"}, {"up": "1x36 0x4"}),
    Case(
        "BBSWithoutStandby",
        {f"bbs_lock_held{{{MASTER}}}": "1x40", f"bbs_lock_held{{{STANDBY}}}": "0x15 stale _x24"},
        {f"bbs_lock_held{{{MASTER}}}": "1x40", f"bbs_lock_held{{{STANDBY}}}": "0x40"},
    ),
    Case("BBSMasterChangesOften", {"bbs_lock_held": "0 1 0 1 0 1 0 1x33"}, {"bbs_lock_held": "0 1 0 1x37"}),
    Case(
        "BBSCertificateExpires",
        {EXPIRY: f"{SOME_TIME_S + 20 * DAY_S}x40"},
        {EXPIRY: f"{SOME_TIME_S + 22 * DAY_S}x40"},
    ),
    Case(
        "BBSCertificateExpiresSoon",
        {EXPIRY: f"{SOME_TIME_S + 2 * DAY_S}x40"},
        {EXPIRY: f"{SOME_TIME_S + 4 * DAY_S}x40"},
    ),
    Case("BBSWritesFail", {"bbs_failed_writes": "3x37 4x3"}, {"bbs_failed_writes": "3x40"}),
    Case("BBSWritesWait", {"bbs_staged_rows": "1001x40"}, {"bbs_staged_rows": "5000x38 999 5000"}),
    Case(
        "BBSDatabaseSlow",
        buckets("bbs_batch_write_seconds", 2, bound="0.5"),
        buckets("bbs_batch_write_seconds", 0, bound="0.5"),
    ),
    Case("BBSRowsTakenOver", {"bbs_rows_taken_over": "0x30 1x10"}, {"bbs_rows_taken_over": "1x40"}),
    Case("BBSAuditsFail", {"bbs_audits_failed": "0+1x40"}, {"bbs_audits_failed": "0x30 3x10"}),
    Case(
        "BBSConvergenceStands",
        {"bbs_convergence_lrp_runs_total": "7x40"},
        {"bbs_convergence_lrp_runs_total": "0+2x35 71x5"},
        HELD,
    ),
    Case("BBSConvergenceStands", HELD, {"bbs_lock_held": "0x40"}, {"bbs_convergence_lrp_runs_total": "7x40"}),
    Case(
        "BBSDomainNotFresh",
        {f'bbs_domain_fresh{{{MASTER},domain="cf-tasks"}}': "1x40"},
        {f'bbs_domain_fresh{{{MASTER},domain="cf-apps"}}': "1x40"},
        HELD,
    ),
    Case("BBSCellsLost", {"bbs_present_cells": "100x30 89x10"}, {"bbs_present_cells": "100x30 91x10"}, HELD),
    Case("BBSSuspectCells", {"bbs_suspect_cells": "0x25 1x15"}, {"bbs_suspect_cells": "0x32 1x8"}),
    Case("BBSInstancesNotPlaced", {"bbs_lrps_unclaimed": "21x40"}, {"bbs_lrps_unclaimed": "19x40"}, {"bbs_lrps_desired": "1000x40"}),
    Case("BBSInstancesNotPlaced", {"bbs_lrps_unclaimed": "11x40"}, {"bbs_lrps_unclaimed": "10x40"}, {"bbs_lrps_desired": "12x40"}),
    Case("BBSInstancesMissing", {"bbs_lrps_missing": "1x40"}, {"bbs_lrps_missing": "1x35 0 1x4"}),
    Case("BBSManyCrashed", {"bbs_crashed_actual_lrps": "51x40"}, {"bbs_crashed_actual_lrps": "49x40"}, {"bbs_lrps_desired": "1000x40"}),
    Case("BBSTasksWait", {"bbs_tasks_pending": "51x40"}, {"bbs_tasks_pending": "500x35 50 500x4"}),
    Case("BBSRepCallsDropped", {"bbs_dropped_rep_calls": "0x37 9x3"}, {"bbs_dropped_rep_calls": "9x40"}),
    Case("BBSPeersFail", {"bbs_failed_peer_calls": "0+70x40"}, {"bbs_failed_peer_calls": "0+50x40"}),
    Case("BBSCallbacksWait", {"bbs_queued_callbacks": "1001x40"}, {"bbs_queued_callbacks": "9000x37 0 9000x2"}),
    Case(
        "BBSEventLoopLate",
        buckets("bbs_event_loop_lag_seconds", 2, bound="0.2"),
        buckets("bbs_event_loop_lag_seconds", 0, bound="0.2"),
    ),
    Case(
        "BBSHeartbeatsSlow",
        buckets("bbs_request_duration_seconds", 2, bound="1.0", labels=ROUTE),
        buckets("bbs_request_duration_seconds", 2, bound="1.0", labels=ROUTE.replace("Start", "Claim")),
    ),
    Case("BBSRefusesConnections", {"bbs_refused_connections": "0x37 1x3"}, {"bbs_refused_connections": "1x40"}),
    Case("BBSSubscribersCutOff", {"bbs_subscribers_cut_off": "0x30 1x10"}, {"bbs_subscribers_cut_off": "1x40"}),
    Case(
        "BBSMemoryBeyondItsRows",
        {"bbs_resident_bytes": "1600000000x40"},
        {"bbs_resident_bytes": "1500000000x40"},
        {"bbs_lrps_desired": "100000x40", **HELD},
    ),
    Case(
        "BBSLogLinesLost",
        {"bbs_log_lines_dropped": "0x35 1x5"},
        {"bbs_log_lines_dropped": "1x40"},
        {"bbs_log_lines_lost": "0x40"},
    ),
    Case(
        "BBSFollowerLate",
        {f"bbs_following_staleness_seconds{{{FOLLOWER}}}": "11x40"},
        {f"bbs_following_staleness_seconds{{{FOLLOWER}}}": "11x39 9"},
    ),
    Case("BBSFollowerLate", {"bbs_following_staleness_seconds": "31x40"}, {"bbs_following_staleness_seconds": "29x40"}),
    Case(
        "BBSFollowerLate",
        {f"bbs_following_staleness_seconds{{{FOLLOWER}}}": INFINITE},
        {f"bbs_following_staleness_seconds{{{STANDBY}}}": INFINITE},
    ),
    Case(
        "BBSFollowerDoesNotStream",
        {"bbs_lock_held": "0x40"},
        HELD,
        {"bbs_following_streams_changes": "0x40"},
    ),
    Case("BBSUnreadableRows", {"bbs_following_unreadable_rows": "1x40"}, {"bbs_following_unreadable_rows": "0x40"}),
)  # fmt: skip
