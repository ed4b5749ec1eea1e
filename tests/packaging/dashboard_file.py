"""The dashboard of ``packaging/grafana``, read."""

import json
from typing import Any

from tests.packaging.operating_page import REPOSITORY

DASHBOARD = REPOSITORY / "packaging/grafana/bbs.json"


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [each["expr"] for each in dashboard()["annotations"]["list"]]
    return found
