"""The dashboard in a real browser, beside a server with the demo's fleet.

Pictures of the pages are left in ``screenshots`` (or where SCREENSHOTS says), of both themes.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize

from tests.dashboard.browser import PHONE, WALL, Opened, browser, opened, require_chromium
from tests.docs.stages import Stage, environment_of, open_stages

pytestmark = pytest.mark.slow

PAGES = {
    "": "Fleet",
    "apps": "Apps",
    "apps?prefix=sh": "Apps",
    "app?guid=shop": "shop",
    "cells": "Cells",
    "cell?cell=cell-1": "Cell cell-1",
    "cell?cell=nothing": "Cell nothing",
    "tasks": "Tasks",
    "task?task=nothing": "nothing",
    "events": "Events",
    "server": "Server",
    "nothing": "There is no such page",
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser(require_chromium()) as started:
        yield started


@pytest.fixture(scope="module")
def demo(chromium: Browser) -> Iterator[Stage]:
    """A server with a fleet in which nothing goes wrong by itself. After ``chromium``, without which nobody needs it."""
    with open_stages() as stages:
        yield stages.named("demo --calm")


@pytest.fixture(scope="module")
def url(demo: Stage) -> str:
    return f"http://{demo.variables['BBS_DEBUG']}/dashboard/"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_loads_without_a_complaint_and_axe_finds_nothing_serious(
    chromium: Browser, url: str, scheme: Literal["light", "dark"]
) -> None:
    serious: dict[str, list[str]] = {}
    with opened(chromium, url, scheme=scheme) as shown:
        for address, heading in PAGES.items():
            shown.page.goto(f"{url}#/{address}")
            shown.until_drawn(heading)
            serious[address] = shown.serious()
            shown.picture(f"{scheme}-{re.sub('[^a-z]+', '-', address) or 'fleet'}")

    assert {address: found for address, found in serious.items() if found} == {}
    assert shown.complaints == []


@pytest.mark.parametrize(("screen", "viewport"), [("phone", PHONE), ("wall", WALL)])
def test_pages_fit_a_phone_and_a_wall(
    chromium: Browser, url: str, screen: str, viewport: ViewportSize
) -> None:
    with opened(chromium, url, viewport=viewport) as shown:
        for address, heading in PAGES.items():
            shown.page.goto(f"{url}#/{address}")
            shown.until_drawn(heading)
            assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
        shown.page.goto(url)
        shown.until_drawn("Fleet")
        shown.picture(f"{screen}-fleet")


def test_what_others_wrote_is_shown_as_text(chromium: Browser, url: str) -> None:
    with opened(chromium, f"{url}#/cell?cell=<img src=x onerror=alert(1)>") as shown:
        shown.until_drawn("Cell <img src=x onerror=alert(1)>")

        assert shown.page.locator("main img").count() == 0


def test_a_keyboard_is_enough(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as shown:
        shown.until_drawn("Fleet")
        shown.page.keyboard.press("Tab")
        assert focused(shown) == "Skip to the page"
        shown.page.keyboard.press("Enter")
        assert shown.page.evaluate("document.activeElement.id") == "main"

        shown.page.keyboard.press("Tab")
        number = focused(shown)
        assert number.isdecimal()
        shown.page.keyboard.press("Enter")
        assert "bbs actual-lrps" in shown.text("#command-line")
        shown.page.keyboard.press("Escape")
        shown.wait("() => !document.getElementById('command').open")

        # The number is drawn again each second, and the focus stays on it.
        assert focused(shown) == number


def focused(shown: Opened) -> str:
    text: str = shown.page.evaluate("document.activeElement.textContent")
    return text.strip()


def test_the_theme_can_be_chosen_and_is_kept(chromium: Browser, url: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(chromium, url, scheme="light") as shown:
        shown.until_drawn("Fleet")
        light = shown.page.evaluate(ground)
        shown.page.click("#theme")
        shown.page.click("#theme")
        assert shown.text("#theme") == "Theme: dark"
        dark = shown.page.evaluate(ground)
        shown.page.reload()
        shown.until_drawn("Fleet")

        assert shown.page.evaluate(ground) == dark != light


def test_what_happens_is_shown_as_it_happens(
    chromium: Browser, url: str, demo: Stage, tmp_path: Path
) -> None:
    """A number, an app's page and the events follow what is desired meanwhile."""
    with opened(chromium, url) as fleet, opened(chromium, f"{url}#/events") as events:
        fleet.until_drawn("Fleet")
        events.until_drawn("Events")
        processes = number_at(fleet, "processes")

        bbs(demo, tmp_path, "create-desired-lrp", json.dumps(app("new-app")))

        fleet.wait(
            "count => Number(document.querySelector('a[href=\"#/command/processes?\"]').textContent) === count",
            processes + 1,
        )
        events.wait(
            "() => document.querySelector('.events')?.textContent.includes('new-app desired, 1 instance')"
        )
        events.page.click("text=Hold still")
        bbs(demo, tmp_path, "delete-desired-lrp", "new-app")
        fleet.wait(
            "count => Number(document.querySelector('a[href=\"#/command/processes?\"]').textContent) === count",
            processes,
        )
        events.wait("() => document.querySelector('main').textContent.includes('events are not shown')")
    assert fleet.complaints == events.complaints == []


def app(guid: str) -> dict[str, object]:
    return {
        "process_guid": guid,
        "domain": "demo",
        "rootfs": "preloaded:cflinuxfs4",
        "instances": 1,
        "memory_mb": 32,
        "disk_mb": 32,
        "log_guid": "new",
        "action": {"run": {"path": "/bin/app", "user": "vcap"}},
        "metric_tags": {"source_id": {"static": "new"}},
    }


def test_each_number_is_what_its_command_prints(
    chromium: Browser, url: str, demo: Stage, tmp_path: Path
) -> None:
    """Each command of every page works, and prints the number where it prints nothing else."""
    told: dict[str, list[str]] = {}
    with opened(chromium, url) as shown:
        for address, heading in PAGES.items():
            shown.page.goto(f"{url}#/{address}")
            shown.until_drawn(heading)
            told |= shown.page.evaluate(LINES)

    tried: set[str] = set()
    for line, (name, number) in told.items():
        if COUNTS.search(line):
            assert in_shell(demo, tmp_path, line) == number, line
        elif name not in tried and "--follow" not in line:
            # One that follows goes on until somebody ends it; tests/console/test_events.py has it.
            assert in_shell(demo, tmp_path, line), line
        tried.add(name)
    assert len(tried) > 15


LINES = """async () => {
  const { lineOf, parse } = await import("/dashboard/static/commands.js");
  const figures = [...document.querySelectorAll("a.figure")].map((link) => [link.textContent, parse(link.getAttribute("href"))]);
  return Object.fromEntries(figures.map(([text, { name, about }]) => [lineOf(name, about), [name, text]]));
}"""
"""The command and the number that the page shows, by the command's line."""

COUNTS = re.compile(r"grep -c|wc -l")


def bbs(demo: Stage, home: Path, *words: str) -> None:
    subprocess.run(
        ["bbs", *words], env=environment_of(demo, home), check=True, timeout=60, capture_output=True
    )


def in_shell(demo: Stage, home: Path, line: str) -> str:
    """What it prints. One that finds nothing to print ends with exit code 1, as grep does."""
    done = subprocess.run(
        ["bash", "-c", line],
        env=environment_of(demo, home),
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), (line, done)
    assert done.stderr == "", (line, done)
    return done.stdout.strip()


def number_at(shown: Opened, command: str) -> int:
    return int(shown.text(f'a[href="#/command/{command}?"]'))
