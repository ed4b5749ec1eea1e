"""The tables of metrics in ``docs/operating.md`` have what real servers say of themselves, and what Loggregator is sent; no more,
and no less. Rules and dashboard ask for nothing else.
"""

import re
from contextlib import AsyncExitStack
from functools import partial

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from bbs.log import null_logger
from bbs.metrics.metrics import Reporting
from tests.daemons import Daemon, Surroundings, daemon, free_port
from tests.databases import ON_POSTGRES
from tests.metrics.bench import LRPS, TASKS, Bench
from tests.packaging.dashboard_file import expressions
from tests.packaging.operating_page import (
    OF_EVERYBODY,
    OF_MASTERS,
    Families,
    code_in,
    documented,
    table_under,
)
from tests.packaging.prometheus_files import rules
from tests.records import task_definition
from tests.waiting import wait_until

WITHIN_S = 60.0
LOGGREGATOR_ONLY = "To Loggregator only"
ONLY_WITH_AN_ACCESS_LOG = "bbs_access_log_"


async def families_of(bbs: Daemon) -> Families:
    """What is on the page of its debug port."""
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http:
        page = (await http.get(f"http://{bbs.config['debug_address']}/metrics")).text
    found = {}
    for family in text_string_to_metric_families(page):
        # The parser leaves out how counters end.
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, frozenset(labels))
    return found


@pytest.mark.slow
@ON_POSTGRES
async def test_a_master_and_a_follower_say_what_the_tables_say(around: Surroundings) -> None:
    """The master with an access log and one of each that has a label."""
    async with AsyncExitStack() as stack:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        master = around.config(
            "a",
            debug_address=addresses[0],
            access_log_path=str(around.tmp_path / "access.log"),
            converge_repeat_interval="1s",
        )
        bbs = await stack.enter_async_context(daemon(around, master))
        await bbs.logs("started")
        follower = around.config("b", debug_address=addresses[1])
        following = await stack.enter_async_context(daemon(around, follower, program=("-m", "bbs", "follow")))
        async with bbs.client() as client:
            await client.upsert_domain("d", ttl_s=0)
            for guid in ("good", "bad"):
                await client.desire_task(task_guid=guid, domain="d", definition=task_definition())
                assert await client.start_task(task_guid=guid, cell_id="c1")
            await client.complete_task(task_guid="good", cell_id="c1", result="r")
            await client.complete_task(task_guid="bad", cell_id="c1", failed=True, failure_reason="r")

        of_everybody, of_masters = documented(OF_EVERYBODY), documented(OF_MASTERS)

        async def has_passed() -> bool:
            """Domains are told as of the last pass."""
            return "domain" in (await families_of(bbs))["bbs_domain_fresh"][1]

        await wait_until(has_passed, within_s=WITHIN_S, what="the first pass", every_s=0.1)
        assert await families_of(bbs) == of_everybody | of_masters

        await wait_until(following.api_is_open, within_s=WITHIN_S, what="the follower's copy is whole")
        async with following.client() as client:
            await client.domains()
        assert await families_of(following) == {
            name: about
            for name, about in of_everybody.items()
            if not name.startswith(ONLY_WITH_AN_ACCESS_LOG)
        }


async def test_loggregator_is_sent_what_the_tables_say(autojump_clock: MockClock) -> None:
    bench = Bench(Reporting(request_count=("Ping",), request_latency=("Ping",)))
    bench.metrics.elected()
    bench.metrics.migrated(1)
    bench.metrics.reencrypted(1)
    metrics, log = bench.metrics, null_logger()
    with trio.move_on_after(61):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metrics.run_runtime)
            nursery.start_soon(metrics.run_file_descriptors)
            nursery.start_soon(metrics.run_lock_held)
            nursery.start_soon(partial(metrics.run_requests, log))
            nursery.start_soon(metrics.run_lrps, bench.sources)
            nursery.start_soon(metrics.run_tasks, bench.sources)
            nursery.start_soon(metrics.run_database, bench.sources, log)
            await trio.sleep(20)
            bench.lrps, bench.tasks = LRPS, TASKS  # as of passes that have ended meanwhile

    sent = {text.split()[0] for _, text in bench.recorder.sent}
    sent = {re.sub(r"^Domain\..*", "Domain.<name>", re.sub(r"\.Ping$", ".<Route>", name)) for name in sent}

    assert sent == {name for cell in loggregator_cells() for name in code_in(cell)}


def loggregator_cells() -> list[str]:
    return [
        *(row[2] for heading in (OF_EVERYBODY, OF_MASTERS) for row in table_under(heading)),
        *(row[0] for row in table_under(LOGGREGATOR_ONLY)),
    ]


def test_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    """For what a histogram has, and for labels that they have."""
    everything = documented(OF_EVERYBODY) | documented(OF_MASTERS)
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = [*(rule["expr"] for rule in rules()), *expressions()]

    for expression in asked:
        for name, labels in re.findall(r"([\w:]*\bbbs_\w+(?::\w+)?)(?:\{([^}]*)\})?", expression):
            used = set(re.findall(r"(\w+)=", labels)) - {"job", "instance"}
            if name in recorded:
                name = name.split(":")[1]
                assert everything[name][0] == "histogram"
            elif found := re.fullmatch(r"(\w+)_(?:bucket|sum|count)", name):
                name = found[1]
                assert everything[name][0] == "histogram", expression
            assert name in everything, expression
            assert used <= everything[name][1], expression


def test_each_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    """But for those that are one of three about the same."""
    asked = " ".join([*(rule["expr"] for rule in rules()), *expressions()])

    left_out = {name for name in documented(OF_EVERYBODY) | documented(OF_MASTERS) if name not in asked}

    assert left_out == {"bbs_convergence_task_runs_total"}
