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


def test_the_skip_link_leaves_the_address_as_it_is(chromium: Browser, url: str) -> None:
    """So the page is the same after a reload."""
    with opened(chromium, f"{url}#/cells") as shown:
        shown.until_drawn("Cells")
        shown.page.keyboard.press("Tab")
        shown.page.keyboard.press("Enter")

        assert shown.page.url == f"{url}#/cells"


def test_numbers_say_to_a_screen_reader_what_they_count(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as shown:
        shown.until_drawn("Fleet")
        labels = shown.page.evaluate(
            "[...document.querySelectorAll('.figures a.figure')].map((link) => [link.textContent, link.ariaLabel])"
        )

    assert labels
    assert all(label.startswith(f"{number} ") and ": show its command" in label for number, label in labels)


@pytest.mark.parametrize("address", ["Apps", "constructor", "apps/", "app%3Fguid=shop"])
def test_an_address_that_leads_nowhere_says_so(chromium: Browser, url: str, address: str) -> None:
    with opened(chromium, f"{url}#/{address}") as shown:
        shown.until_drawn("There is no such page")

    assert shown.complaints == []


ODD_WORDS = ["a/b", "a#b", "a%b", "a%2Fb", "a&b=c", "a+b c", "a?b", "é漢🙂", "__proto__", "<b>", "'; x '"]


def test_whatever_a_name_contains_the_link_leads_to_it(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as shown:
        for word in ODD_WORDS:
            address = shown.page.evaluate(
                "async word => (await import('/dashboard/static/parts.js')).cellLink(word).attributes.href",
                word,
            )
            shown.page.goto(url + address)
            shown.until_drawn(f"Cell {word}")


def test_a_forms_fields_say_what_the_address_says(chromium: Browser, url: str) -> None:
    """Also when the page was reached from one with another form, and with the back button."""
    with opened(chromium, f"{url}#/events?kind=task&guid=x") as shown:
        shown.until_drawn("Events")
        assert fields(shown) == {"kind": ["task"], "guid": ["x"], "cell": [""]}

        shown.page.goto(f"{url}#/apps?prefix=sh&wrong=missing")
        shown.until_drawn("Apps")
        assert fields(shown) == {"prefix": ["sh"], "wrong": ["missing"]}

        shown.page.select_option("select[name=wrong]", "crashed")
        shown.page.fill("input[name=prefix]", "w")
        shown.page.keyboard.press("Enter")
        shown.wait("() => location.hash === '#/apps?prefix=w&wrong=crashed'")
        shown.page.go_back()
        shown.wait("() => document.querySelector('[name=prefix]')?.value === 'sh'")
        assert fields(shown) == {"prefix": ["sh"], "wrong": ["missing"]}

        shown.page.go_back()
        shown.until_drawn("Events")
        assert fields(shown) == {"kind": ["task"], "guid": ["x"], "cell": [""]}
        assert shown.page.title() == "Events – BBS"


def fields(shown: Opened) -> dict[str, list[str]]:
    """What the form would send."""
    found: dict[str, list[str]] = shown.page.evaluate(
        """() => {
          const given = new FormData(document.querySelector("form[data-form]"));
          return Object.fromEntries([...new Set(given.keys())].map((name) => [name, given.getAll(name)]));
        }"""
    )
    return found


def test_an_element_keeps_its_focus_wherever_it_comes_to_stand(chromium: Browser, url: str) -> None:
    """Beside it things come and go, and it changes places with its neighbours."""
    orders = ["xabcd", "bcd", "dcb", "cdab", "-c-d", "aacc", "c", "bca", "", "abc"]
    with opened(chromium, f"{url}#/nothing") as shown:
        shown.until_drawn("There is no such page")
        seen = shown.page.evaluate(
            """async (orders) => {
              const { h, patch } = await import("/dashboard/static/dom.js");
              const list = document.createElement("ul");
              document.body.append(list);
              const draw = (order) => patch(list, [...order].map((name) =>
                h("li", name === "-" ? {} : { "data-key": name }, h("a", { href: `#${name}` }, name))));
              draw("abcd");
              list.children[2].firstChild.focus();
              return orders.map((order) => {
                draw(order);
                return [list.textContent, document.activeElement.textContent];
              });
            }""",
            orders,
        )

    assert [text for text, _ in seen] == orders
    assert {focus for text, focus in seen if text in orders[:8]} == {"c"}


def test_a_command_has_words_of_an_address_only_as_words_of_a_shell(chromium: Browser, url: str) -> None:
    """Anybody may have made the address that somebody opens."""
    with opened(chromium, f"{url}#/command/app?guid=$(id)") as shown:
        shown.until_drawn("The command that prints this")
        assert shown.text("main pre") == "bbs lrp '$(id)'"

        for address in ("instances?state=x $(id)", "subscribers?hub=x;id", "nothing?", "constructor?"):
            shown.page.goto(f"{url}#/command/{address}")
            shown.until_drawn("There is no such command")


FAKE_STREAMS = """
window.streams = [];
window.EventSource = class extends EventTarget {
  static CLOSED = 2;
  readyState = 1;
  constructor(url) { super(); this.url = url; window.streams.push(this); }
  close() { this.readyState = 2; }
  say(title, value) { this.dispatchEvent(new MessageEvent(title, { data: JSON.stringify(value) })); }
};
window.isHidden = true;
Object.defineProperty(document, "hidden", { get: () => window.isHidden });
window.setHidden = (hidden) => { window.isHidden = hidden; document.dispatchEvent(new Event("visibilitychange")); };
"""
"""Streams on which only the test says something, and a page that is in the background until the test has it seen."""


def with_fake_streams(shown: Opened, url: str) -> None:
    """The clock, too, goes only as the test says."""
    shown.page.clock.install()
    shown.page.add_init_script(FAKE_STREAMS)
    shown.page.goto(url)
    shown.wait("() => document.title !== 'BBS' || document.querySelector('#pages [aria-current]')")


def states(shown: Opened) -> list[int]:
    """1 of each stream that is open, 2 of each that was closed, the first one first."""
    found: list[int] = shown.page.evaluate("window.streams.map((each) => each.readyState)")
    return found


def test_a_connection_that_has_died_without_a_word_is_replaced(chromium: Browser, url: str) -> None:
    """As when a machine on the way has lost its power: nothing comes any more, and nothing ends."""
    with opened(chromium, "about:blank") as shown:
        with_fake_streams(shown, url)
        shown.page.evaluate("setHidden(false)")
        shown.page.clock.run_for(20_000)
        shown.page.evaluate("streams[0].say('alive', null)")
        shown.page.clock.run_for(20_000)
        assert states(shown) == [1]

        shown.page.clock.run_for(15_000)
        assert states(shown) == [2, 1]
        assert "does not answer" in shown.text("#connection")
        assert shown.text("h1") == "Nothing is known yet"


def test_a_page_that_nobody_sees_has_no_stream_and_keeps_what_it_knew(chromium: Browser, url: str) -> None:
    event = {"at_ns": 1, "kind": "app", "guid": "shop", "cells": [], "text": "shop desired", "style": ""}
    with opened(chromium, "about:blank") as shown:
        with_fake_streams(shown, f"{url}#/events")
        assert states(shown) == []

        shown.page.evaluate("setHidden(false)")
        shown.page.evaluate("event => streams[0].say('events', { left_out: 0, events: [event] })", event)
        shown.page.evaluate("setHidden(true)")
        shown.page.clock.run_for(29_000)
        assert states(shown) == [1]
        shown.page.clock.run_for(2_000)
        assert states(shown) == [2]

        shown.page.evaluate("setHidden(false)")
        assert states(shown) == [2, 1]
        shown.page.clock.run_for(100)
        assert "shop desired" in shown.text(".events")


def test_a_refusal_is_shown_with_what_to_do(chromium: Browser, url: str) -> None:
    with opened(chromium, "about:blank") as shown:
        shown.page.route(
            "**/dashboard/live/**",
            lambda route: route.fulfill(status=503, content_type="text/plain", body="close some\n"),
        )
        shown.page.goto(url)
        shown.wait("() => document.getElementById('connection').textContent === 'close some'")

        shown.page.unroute("**/dashboard/live/**")
        shown.until_drawn("Fleet")


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
