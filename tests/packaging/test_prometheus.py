"""Rules and scrape configuration for Prometheus: they load, each alarm fires when it should and not just before, and each is told of
in ``docs/operating.md``. That their metrics exist is in `tests/packaging/test_metrics_tables.py`.
"""

import re
from pathlib import Path

import pytest
import yaml

from tests.packaging.alarms import AT, CASES, Case
from tests.packaging.operating_page import table_under
from tests.packaging.prometheus_files import RULES, SCRAPE, alarms, needs_promtool, promtool


@needs_promtool
def test_the_files_load() -> None:
    """The scrape configuration with the rules that it names."""
    promtool("check", "config", SCRAPE)


@pytest.mark.slow
@needs_promtool
def test_each_alarm_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    tests = [
        {
            "name": f"{', '.join(case.alert for case in cases)}: {'firing' if is_firing else 'quiet'}",
            "interval": "1m",
            "input_series": [
                {"series": name, "values": values}
                for case in cases
                for name, values in case.series(is_firing=is_firing).items()
            ],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) or vector(0)',
                    "eval_time": AT,
                    "exp_samples": [{"labels": "{}", "value": int(is_firing)}],
                }
                for case in cases
            ],
        }
        for cases in cases_together()
        for is_firing in (True, False)
    ]
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))

    promtool("test", "rules", file)


def cases_together() -> list[list[Case]]:
    """The cases in groups, for each of which promtool has a database of its own, which takes its time. No case of a group has
    a metric that another one's alarm asks for.
    """
    groups: list[tuple[set[str], list[Case]]] = []
    for case in CASES:
        metrics = metrics_in(alarms()[case.alert]["expr"])
        metrics |= {
            metric for name in [*case.always, *case.fires, *case.quiet] for metric in metrics_in(name)
        }
        for taken, cases in groups:
            if not metrics & taken:
                taken |= metrics
                cases.append(case)
                break
        else:
            groups.append((metrics, [case]))
    return [cases for _, cases in groups]


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in an expression; of a histogram's samples, and of what is recorded of it, its own."""
    return {name.removesuffix("_bucket") for name in re.findall(r"\b(?:bbs_\w+|up)\b", expression)}


def test_each_alarm_has_a_case() -> None:
    assert {case.alert for case in CASES} == set(alarms())


def test_the_page_tells_of_each_alarm_and_of_no_other() -> None:
    """Name and severity; a row says, besides, what it means and what to do."""
    told = {row[0].strip("`"): row[1] for row in table_under("What to alarm on")}

    assert told == {name: alarm["labels"]["severity"] for name, alarm in alarms().items()}
    assert all(all(row) for row in table_under("What to alarm on"))


def test_each_alarm_says_what_is_wrong() -> None:
    for name, alarm in alarms().items():
        assert alarm["labels"]["severity"] in {"critical", "warning", "info"}, name
        assert set(alarm["annotations"]) == {"summary", "description"}, name
