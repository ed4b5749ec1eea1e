"""A real browser: Debian's chromium, driven by playwright, and what its pages do wrong."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, ViewportSize, sync_playwright

from perf.programs import program

PATIENCE_MS: Final = 60_000
WIDE: Final[ViewportSize] = {"width": 1400, "height": 900}
PHONE: Final[ViewportSize] = {"width": 375, "height": 740}
WALL: Final[ViewportSize] = {"width": 3840, "height": 2160}
AXE: Final = files("axe_playwright_python").joinpath("axe.min.js").read_text()
SERIOUS: Final = ("serious", "critical")

SCREENSHOTS: Final = Path(os.environ.get("SCREENSHOTS", Path(__file__).parent.parent.parent / "screenshots"))
"""Where pictures of the pages are left. Git leaves the folder out."""


def require_chromium() -> str:
    """Its path. Skips the test where there is none."""
    found = program("chromium")
    if found is None:
        pytest.skip("no chromium: Debian's package chromium brings it")
    return str(found)


@contextmanager
def browser(executable: str) -> Iterator[Browser]:
    with asyncios_own_loops(), sync_playwright() as playwright:
        # Its sandbox does not work for root; every page that it is shown here is ours.
        started = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        started.close()


@contextmanager
def asyncios_own_loops() -> Iterator[None]:
    """Playwright runs asyncio's event loop, in pieces. Once trio-asyncio is imported, new loops in this thread are Trio's, which
    can't be run so, unless a policy is set.
    """
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(None)


@dataclass
class Opened:
    """``complaints`` are what the console of the page said, but for what the test expects."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text(timeout=PATIENCE_MS)

    def wait(self, script: str, argument: Any = None) -> None:
        """Until the page finds it true."""
        self.page.wait_for_function(script, arg=argument, timeout=PATIENCE_MS)

    def until_drawn(self, heading: str) -> None:
        self.wait(
            "heading => document.querySelector('h1')?.textContent === heading && !document.querySelector('main.old')",
            heading,
        )

    def serious(self) -> list[str]:
        """What axe-core finds that is serious, each with the element that it is about."""
        found = self.page.evaluate(f"{AXE}\naxe.run({{rules: {{'target-size': {{enabled: true}}}}}})")
        return [
            f"{each['id']}: {node['html']} {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]

    def picture(self, name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@contextmanager
def opened(
    started: Browser, url: str, *, scheme: Literal["light", "dark"] = "light", viewport: ViewportSize = WIDE
) -> Iterator[Opened]:
    context = started.new_context(color_scheme=scheme, viewport=viewport)
    page = context.new_page()
    shown = Opened(page)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            shown.complaints.append(message.text)

    def on_error(error: Error) -> None:
        shown.complaints.append(str(error))

    page.on("console", on_console)
    page.on("pageerror", on_error)
    page.goto(url, timeout=PATIENCE_MS)
    try:
        yield shown
    finally:
        context.close()
