"""Rules and scrape configuration of ``packaging/prometheus``, read, and given to Prometheus' own tool."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from perf.programs import program
from tests.packaging.operating_page import REPOSITORY

RULES = REPOSITORY / "packaging/prometheus/bbs.rules.yml"
SCRAPE = REPOSITORY / "packaging/prometheus/scrape.yml"

needs_promtool = pytest.mark.skipif(
    program("promtool") is None, reason="no promtool: Debian's prometheus brings it"
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alarms() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*words: str | Path, cwd: Path = RULES.parent) -> None:
    done = subprocess.run(
        [str(program("promtool")), *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
