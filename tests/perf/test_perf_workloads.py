import os
from pathlib import Path

import pytest

from bbs.models import pb
from perf.load import Target
from perf.server import _stat
from perf.workloads import DOMAIN, Fleet, seed_lrp

FLEET = Fleet(target=Target(host="bbs.example.com", port=8889, tls=None), lrps=1_001)


def body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def test_the_seed_lrp_is_as_large_as_upstreams() -> None:
    lrp = seed_lrp(FLEET.process_guid(0))

    assert lrp.ByteSize() == pytest.approx(1_483, abs=10)  # spec: benchmarks.md, section 3
    assert len(lrp.process_guid) == 25
    assert lrp.metric_tags


def test_requests_are_what_upstreams_client_sends() -> None:
    head, _, sent = FLEET.desires()[7].partition(b"\r\n\r\n")

    assert head.splitlines()[:2] == [
        b"POST /v1/desired_lrp/desire.r2 HTTP/1.1",
        b"Host: bbs.example.com:8889",
    ]
    assert f"Content-Length: {len(sent)}".encode() in head.splitlines()
    assert pb.DesireLRPRequest.FromString(sent).desired_lrp.process_guid == "BENCHMARK-BBS-GUID-000007"


def test_claim_start_and_crash_speak_of_the_same_instance() -> None:
    claim = pb.ClaimActualLRPRequest.FromString(body(FLEET.claims()[3]))
    start = pb.StartActualLRPRequest.FromString(body(FLEET.starts()[3]))
    crash = pb.CrashActualLRPRequest.FromString(body(FLEET.crashes()[3]))

    assert claim.actual_lrp_instance_key == start.actual_lrp_instance_key == crash.actual_lrp_instance_key
    assert claim.process_guid == start.actual_lrp_key.process_guid == crash.actual_lrp_key.process_guid
    assert (start.actual_lrp_key.domain, start.Routable) == (DOMAIN, True)


def test_cells_share_the_lrps_evenly() -> None:
    sizes = [FLEET.lrps_of_cell(cell) for cell in range(FLEET.cells)]

    assert sizes == [501, 500]
    assert sizes[0] == sum(FLEET.cell_id(number) == "cell-0" for number in range(FLEET.lrps))


def test_the_cpu_time_of_a_process_is_read_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"42 (a) b (c) S {os.getppid()} 1 1 0 -1 0 0 0 0 0 250 150 30 20 20 0 1"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    ticks_per_s = os.sysconf("SC_CLK_TCK")

    stat = _stat(42)

    assert stat is not None
    assert (stat.command, stat.parent_pid) == ("a) b (c", os.getppid())
    assert (stat.cpu_s, stat.dead_children_cpu_s) == (400 / ticks_per_s, 50 / ticks_per_s)
