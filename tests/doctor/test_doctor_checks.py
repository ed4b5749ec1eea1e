"""What each check makes of the facts. That the facts are found out is in `tests/doctor/test_doctor_asks.py`."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bbs.config.cautions import Caution
from bbs.convergence.lrp_sets import LRPSets
from bbs.doctor.checks import CHECKS, NAMED_MAX, Finding, Verdict
from bbs.doctor.facts import Answers, CertificateFile, DatabaseSays, Facts, ProcessSays, Rows, Unknown
from bbs.doctor.report import WIDTH, judged
from bbs.models.actual_lrp import ActualLRPKey, Presence
from bbs.models.domain import NEVER_NS, Domain
from bbs.store.migrations import SCHEMA_VERSION
from bbs.sync.locket.master import NOBODY, MasterKnown

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 10**9
SECOND_NS = 10**9

DATABASE = DatabaseSays(
    version="Postgres 18.1", round_trip_s=0.001, schema_version=SCHEMA_VERSION, key_label="new"
)
ROWS = Rows(
    domains=(
        Domain(name="cf-apps", expire_time_ns=NOW_NS + 119 * SECOND_NS),
        Domain(name="cf-tasks", expire_time_ns=NEVER_NS),
    ),
    used_domains=frozenset(("cf-apps",)),
    unreadable={},
    evacuating_to_prune=0,
    work=LRPSets(),
)


def certificate(**until: int) -> CertificateFile:
    return CertificateFile(key="cert_file", path="bbs.crt", ends=NOW + timedelta(**until))


HEALTHY = Facts(
    now_ns=NOW_NS,
    active_key_label="new",
    key_labels=frozenset(("new", "old")),
    certificates=(certificate(days=400), replace(certificate(days=90), key="locket_ca_cert_file")),
    master=MasterKnown("us", "https://us:8889"),
    cells=frozenset(("cell-1", "cell-2")),
    process=ProcessSays(active_since=NOW - timedelta(hours=26, minutes=3), not_ready="", owner="us"),
    database=DATABASE,
    rows=ROWS,
    metrics={"bbs_following_staleness_seconds": 0.2, "bbs_subscribers_cut_off": 0.0, "bbs_lock_held": 0.0},
    auctioneer=True,
    answers=Answers(url="https://us:8889", is_master=True),
)
AWAY = Unknown("it is away")
NOBODY_TO_ASK = Unknown("not asked", is_asked=False)


def finding(name: str, facts: Facts) -> Finding:
    return next(check.judge(facts) for check in CHECKS if check.name == name)


def keys(count: int) -> list[ActualLRPKey]:
    return [ActualLRPKey("p", index, Presence.ORDINARY) for index in range(count)]


def database(**changes: Any) -> dict[str, Any]:
    return {"database": replace(DATABASE, **changes)}


def rows(**changes: Any) -> dict[str, Any]:
    return {"rows": replace(ROWS, **changes)}


def work(**sets: Any) -> dict[str, Any]:
    return rows(work=LRPSets(**sets))


def metrics(**values: float) -> dict[str, Any]:
    assert isinstance(HEALTHY.metrics, dict)
    return {"metrics": HEALTHY.metrics | {f"bbs_{name}": value for name, value in values.items()}}


OK, CAUTION, WRONG, SKIPPED = Verdict.OK, Verdict.CAUTION, Verdict.WRONG, Verdict.SKIPPED


@pytest.mark.parametrize(
    ("name", "changes", "verdict", "says"),
    [
        ("configuration", {}, OK, "a server starts"),
        ("configuration", {"configuration": NOBODY_TO_ASK}, SKIPPED, "not asked"),
        ("configuration", {"cautions": (Caution("x", "has no effect"),)}, CAUTION, "x has no effect"),
        (
            "configuration",
            {"problems": ("uuid: missing",), "cautions": (Caution("x", "y"),)},
            WRONG,
            "would not start with this: uuid: missing",
        ),
        ("certificates", {}, OK, "locket_ca_cert_file, on 2026-05-30"),
        ("certificates", {"certificates": (certificate(days=30),)}, OK, "cert_file"),
        ("certificates", {"certificates": (certificate(days=29),)}, CAUTION, "in 29 days"),
        ("certificates", {"certificates": (certificate(seconds=0),)}, CAUTION, "in 0 days"),
        (
            "certificates",
            {"certificates": (certificate(seconds=-1), certificate(days=5), certificate(days=99))},
            WRONG,
            "bbs.crt expired on 2026-03-01 11:59 UTC; cert_file: bbs.crt expires on",
        ),
        (
            "certificates",
            {"certificates": (replace(certificate(days=-1), last_ends=NOW + timedelta(days=99)),)},
            CAUTION,
            "expired on 2026-02-28 12:00 UTC; others in it are still good",
        ),
        (
            "certificates",
            {"certificates": (replace(certificate(days=-1), last_ends=NOW - timedelta(hours=1)),)},
            WRONG,
            "expired on 2026-02-28 12:00 UTC",
        ),
        (
            "certificates",
            {"certificates": (certificate(days=9), replace(certificate(days=-1), key="ca_file"))},
            WRONG,
            "ca_file: bbs.crt expired on 2026-02-28 12:00 UTC; cert_file: bbs.crt expires on 2026-03-10 12:00 UTC, in 9 days",
        ),
        (
            "certificates",
            {"certificates": (CertificateFile(key="ca_file", path="x", ends=AWAY), certificate(days=5))},
            WRONG,
            "ca_file: x can't be read: it is away",
        ),
        ("certificates", {"certificates": ()}, SKIPPED, "there are none"),
        ("locket", {}, OK, "knows of 2 cells"),
        ("locket", {"cells": frozenset(("c",))}, OK, "knows of 1 cell"),
        ("locket", {"cells": AWAY}, WRONG, "it is away"),
        ("locket", {"cells": NOBODY_TO_ASK}, SKIPPED, "not asked"),
        ("master", {}, OK, "https://us:8889 (uuid us): the process beside us, for 1 d 2 h"),
        (
            "master",
            {"process": ProcessSays(active_since=None, not_ready="standby")},
            OK,
            "the master is at https://us:8889 (uuid us); since when, its own",
        ),
        ("master", {"process": AWAY}, OK, "(uuid us)"),
        (
            "master",
            {"master": NOBODY, "answers": NOBODY_TO_ASK},
            WRONG,
            "nobody has Locket's lock, so nobody answers",
        ),
        (
            "master",
            {"master": NOBODY, "answers": Answers(url="u", is_master=False)},
            WRONG,
            "nobody has Locket's lock, so nobody answers",
        ),
        (
            "master",
            {"master": NOBODY, "process": AWAY},
            CAUTION,
            "and yet https://us:8889 answers as the master",
        ),
        (
            "master",
            {"master": NOBODY, "process": ProcessSays(active_since=NOW - timedelta(hours=1), not_ready="")},
            OK,
            "the process beside us, for 1 h; it is alone, as `bbs serve` is",
        ),
        ("master", {"master": AWAY}, WRONG, "it is away"),
        ("process", {}, OK, "answers requests"),
        ("process", {"process": ProcessSays(active_since=NOW, not_ready="loads")}, WRONG, "loads"),
        ("process", {"process": ProcessSays(active_since=None, not_ready="a standby")}, OK, "a standby"),
        ("process", {"process": ProcessSays(active_since=None, not_ready="")}, OK, "serves reads"),
        ("process", {"process": AWAY}, WRONG, "it is away"),
        ("requests", {}, OK, "https://us:8889 answers them, as the master"),
        ("requests", {"answers": Answers(url="u", is_master=False)}, OK, "u answers reads, and is not"),
        ("requests", {"answers": AWAY}, WRONG, "it is away"),
        ("requests", {"answers": NOBODY_TO_ASK}, SKIPPED, "not asked"),
        ("standby-lag", {}, OK, "0.2 s behind"),
        ("standby-lag", metrics(following_staleness_seconds=10.0), OK, "10.0 s"),
        ("standby-lag", metrics(following_staleness_seconds=75.0), CAUTION, "1 min 15 s behind"),
        ("standby-lag", metrics(following_staleness_seconds=float("inf")), CAUTION, "has never been"),
        ("standby-lag", metrics(lock_held=1, following_staleness_seconds=75.0), SKIPPED, "is the master"),
        ("standby-lag", {"metrics": {}}, SKIPPED, "does not say"),
        ("standby-lag", {"metrics": NOBODY_TO_ASK}, SKIPPED, "not asked"),
        ("standby-lag", {"metrics": AWAY}, WRONG, "it is away"),
        ("database", {}, OK, "Postgres 18.1 answers within 1.0 ms"),
        ("database", database(round_trip_s=0.021), CAUTION, "21.0 ms"),
        ("database", {"database": AWAY}, WRONG, "it is away"),
        ("schema", {}, OK, f"version {SCHEMA_VERSION}"),
        ("schema", database(schema_version=SCHEMA_VERSION + 1), WRONG, "is newer than"),
        ("schema", database(schema_version=SCHEMA_VERSION - 1), CAUTION, "migrates it"),
        ("schema", database(schema_version=None), CAUTION, "no tables"),
        ("schema", {"database": AWAY}, SKIPPED, "not known: it is away (see the check `database`)"),
        ("schema", {"database": NOBODY_TO_ASK}, SKIPPED, "not asked"),
        ("encryption-key", {"database": NOBODY_TO_ASK}, SKIPPED, "not asked"),
        ("encryption-key", {}, OK, '"new"'),
        ("encryption-key", database(key_label="old"), CAUTION, 'from "old" to "new" is not done'),
        ("encryption-key", database(key_label="lost"), WRONG, 'sealed with "lost"'),
        ("encryption-key", database(key_label=None), CAUTION, "does not say"),
        ("readable-rows", {}, OK, "all rows"),
        ("readable-rows", rows(unreadable={"desired_lrps": 2}), WRONG, "2 of desired_lrps"),
        ("readable-rows", {"rows": AWAY}, SKIPPED, "it is away"),
        ("readable-rows", rows(unreadable=NOBODY_TO_ASK), SKIPPED, "not asked"),
        ("domains", {}, OK, "cf-apps for 1 min 59 s, cf-tasks for good"),
        ("domains", rows(domains=()), WRONG, "not fresh, though LRPs are in them: cf-apps"),
        (
            "domains",
            rows(domains=(Domain(name="cf-apps", expire_time_ns=NOW_NS - 61 * SECOND_NS),)),
            WRONG,
            "cf-apps (for 1 min 1 s);",
        ),
        ("domains", rows(domains=(), used_domains=frozenset()), OK, "none"),
        ("domains", rows(are_expiries_known=False), OK, "fresh: cf-apps, cf-tasks; for how long only"),
        ("cells", {}, OK, "announce themselves"),
        (
            "cells",
            work(missing_cells={"cell-9", "cell-8"}, displaced=keys(3)),
            WRONG,
            "2 with instances on them do not announce themselves: cell-8, cell-9. The next pass makes 3",
        ),
        ("cells", rows(work=replace(AWAY, see="locket")), SKIPPED, "see the check `locket`"),
        ("suspects", {}, OK, "none"),
        (
            "suspects",
            work(suspects_running=2, suspects_claimed=1, suspects_back=keys(2), suspects_to_go=keys(1)),
            CAUTION,
            "3 instances of cells that were missing. The next pass makes 2 whose cell is back ordinary again, and removes 1 that is",
        ),
        ("instances", {}, OK, "as desired"),
        ("instances", work(missing=keys(2)), CAUTION, "2 missing, and will be made and placed (p 0, p 1)"),
        ("instances", work(missing=keys(NAMED_MAX + 2)), CAUTION, "p 4 and 2 more)"),
        ("instances", work(stale=keys(1)), CAUTION, "put up for auction again"),
        ("instances", work(restartable=keys(1)), CAUTION, "started again"),
        ("instances", work(extra=keys(1)), CAUTION, "beyond what is desired"),
        ("instances", work(orphans=keys(1)), CAUTION, "desired by nobody"),
        ("instances", work(routes_changed=keys(1)), CAUTION, "old routes"),
        ("instances", work(tags_changed=keys(1)), CAUTION, "old metric tags"),
        ("instances", work(oversized=["big"]), CAUTION, "more instances desired than may be: big"),
        ("instances", rows(evacuating_to_prune=4), CAUTION, "4 evacuating"),
        ("subscribers", {}, OK, "none was cut off"),
        ("subscribers", metrics(subscribers_cut_off=1), CAUTION, "1 that read too slowly was cut off"),
        ("subscribers", {"metrics": AWAY}, WRONG, "it is away"),
        ("auctioneer", {}, OK, "takes connections"),
        ("auctioneer", {"auctioneer": AWAY}, WRONG, "it is away"),
        ("auctioneer", {"auctioneer": NOBODY_TO_ASK}, SKIPPED, "not asked"),
    ],
)
def test_what_a_check_makes_of_the_facts(
    name: str, changes: dict[str, Any], verdict: Verdict, says: str
) -> None:
    facts = replace(HEALTHY, **changes)

    found = finding(name, facts)

    assert found.verdict is verdict
    assert says in found.reason
    assert bool(found.remedy) == (verdict in (CAUTION, WRONG)), (
        "a remedy for what is wrong, and for nothing else"
    )


def test_each_check_has_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_the_report_says_the_same_to_people_and_to_scripts() -> None:
    report = judged(replace(HEALTHY, auctioneer=AWAY, **work(missing=keys(1))))

    said = json.loads(report.as_json())
    text = report.as_text()

    assert not said["healthy"]
    assert [check["name"] for check in said["checks"]] == [check.name for check in CHECKS]
    assert said["checks"][-1]["verdict"] == "wrong"
    lines = text.splitlines()
    assert any(line.startswith("WRONG    auctioneer") and line.endswith("it is away") for line in lines)
    assert any(line.startswith("caution  instances") for line in lines)
    assert lines[-1] == "not healthy: 1 of 17 checks"
    for check in said["checks"]:
        for words in (check["reason"], check["remedy"]):
            assert words in " ".join(text.split()), "nothing is lost in wrapping"
    assert max(map(len, lines)) <= WIDTH


def test_a_healthy_deployment_is_said_to_be() -> None:
    report = judged(HEALTHY)

    assert report.is_healthy
    assert report.as_text().splitlines()[-1] == "healthy, by 17 of 17 checks"
    assert all(finding.verdict is OK for _, finding in report.findings)


def test_a_caution_is_no_illness() -> None:
    cautious = judged(replace(HEALTHY, metrics=NOBODY_TO_ASK, **work(missing=keys(1), suspects_running=1)))

    assert cautious.is_healthy
    assert {finding.verdict for _, finding in cautious.findings} == {OK, CAUTION, SKIPPED}
    assert cautious.as_text().splitlines()[-1] == "healthy, by 15 of 17 checks; 2 not made"


def test_scripts_are_told_of_each_of_many() -> None:
    many = replace(HEALTHY, **work(missing=keys(NAMED_MAX + 2), extra=keys(1), missing_cells={"b", "a"}))

    details = {check["name"]: check["details"] for check in json.loads(judged(many).as_json())["checks"]}

    assert details["instances"] == [
        *(f"p {index}: missing, and will be made and placed" for index in range(NAMED_MAX + 2)),
        "p 0: beyond what is desired, and will be stopped",
    ]
    assert details["cells"] == ["a", "b"]
    assert details["domains"] == ["cf-apps for 1 min 59 s", "cf-tasks for good"]
    assert [told.partition(":")[0] for told in details["certificates"]] == [
        "locket_ca_cert_file",
        "cert_file",
    ]


@pytest.mark.parametrize("width", [40, 72, 80, 110])
def test_it_fits_the_terminal(width: int) -> None:
    report = judged(replace(HEALTHY, auctioneer=AWAY, **work(missing=keys(9), missing_cells={"a"})))

    plain = report.as_text(width=width)
    coloured = report.as_text(width=width, in_colour=True)

    assert max(map(len, plain.splitlines())) <= width
    assert re.sub(r"\x1b\[[0-9]+m", "", coloured) == plain
    assert coloured.count("\x1b[31mWRONG\x1b[0m") == 2


def test_what_a_name_holds_does_not_move_the_cursor() -> None:
    facts = replace(HEALTHY, master=MasterKnown("u\x1b[2Jd", ""))

    assert "\x1b" not in judged(facts).as_text()
