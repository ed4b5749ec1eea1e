"""The dashboard for Grafana. There is no Grafana here, so it is held to what Grafana asks of a dashboard's JSON, and its expressions
to Prometheus' own parser.
"""

import json
import re
from itertools import combinations
from pathlib import Path

import yaml

from tests.packaging.dashboard_file import dashboard, expressions, panels
from tests.packaging.prometheus_files import needs_promtool, promtool

COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_it_can_be_imported_into_any_grafana() -> None:
    """Without an id of some other one, and with whichever data source is chosen there."""
    read = dashboard()

    assert read["id"] is None
    assert (read["uid"], read["title"]) == ("bbs", "BBS")
    assert isinstance(read["schemaVersion"], int)
    assert set(read["time"]) == {"from", "to"}
    variables = {each["name"]: each for each in read["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    asking = [*panels(), *(target for panel in panels() for target in panel["targets"])]
    asking += [each for each in variables.values() if each["type"] == "query"]
    asking += read["annotations"]["list"]
    assert [each for each in asking if each["datasource"] != SOURCE] == []


def test_each_variable_that_is_used_is_there() -> None:
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard())))
    known = {each["name"] for each in dashboard()["templating"]["list"]}

    assert used - known == {"__rate_interval", "__all"}
    assert known <= used


def test_each_panel_has_what_grafana_draws_it_by() -> None:
    for panel in panels():
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in {"none", "s", "bytes", "ops", "reqps"}
        names = [target["refId"] for target in panel["targets"]]
        assert names
        assert len(set(names)) == len(names)
        assert all(target["legendFormat"] for target in panel["targets"])


def test_panels_are_apart_from_one_another() -> None:
    all_panels = dashboard()["panels"]
    identities = [panel["id"] for panel in all_panels]
    places = [panel["gridPos"] for panel in all_panels]

    assert len(set(identities)) == len(identities)
    assert all(place["x"] + place["w"] <= COLUMNS and place["h"] > 0 for place in places)
    assert [(one, other) for one, other in combinations(places, 2) if overlap(one, other)] == []


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


@needs_promtool
def test_expressions_are_prometheus_own(tmp_path: Path) -> None:
    rules = [
        {"record": "tried", "expr": expression.replace("$__rate_interval", "1m")}
        for expression in expressions()
    ]
    file = tmp_path / "rules.yml"
    file.write_text(
        yaml.safe_dump({"groups": [{"name": f"{at}", "rules": [rule]} for at, rule in enumerate(rules)]})
    )

    promtool("check", "rules", file)


def test_each_expression_asks_for_what_is_chosen_only() -> None:
    """Every metric in it has the two variables among its labels."""
    for expression in expressions():
        metrics = re.findall(r"\bbbs_\w+", expression)
        assert metrics
        assert expression.count('{job=~"$job", instance=~"$instance"') == len(metrics), expression
