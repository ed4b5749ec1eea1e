"""The site that `make docs` builds is whole: it takes nothing from elsewhere, and each link leads somewhere."""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import markdown
import pytest
from markdown_it import MarkdownIt

from tests.docs.pages import REPOSITORY, paths_of_pages
from tools.docs_site import PAGES, for_the_site, with_whole_commands

BUILD_MAX_S = 120

pytestmark = pytest.mark.slow


@dataclass
class Links(HTMLParser):
    """What a page names: ``taken`` is fetched with it, ``led_to`` only when somebody follows a link; ``anchors`` are its own."""

    text: str
    taken: list[str] = field(default_factory=list)
    led_to: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name in ("id", "name"):
                self.anchors.add(value)
            elif name in ("src", "data", "srcset", "poster"):
                self.taken.append(value)
            elif name == "href":
                (self.led_to if tag == "a" else self.taken).append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", directory],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
        timeout=BUILD_MAX_S,
    )
    return directory


def pages_of(site: Path) -> list[Path]:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    return pages


@cache
def links_of(page: Path) -> Links:
    return Links(page.read_text())


def test_every_page_is_on_the_site(site: Path) -> None:
    wanted = {*PAGES.values(), *(path.name for path in (REPOSITORY / "docs").glob("*.md"))}
    assert {path.removesuffix(".md") for path in wanted} <= {page.stem for page in pages_of(site)}


def test_no_page_takes_anything_from_elsewhere(site: Path) -> None:
    outside = {
        (page.name, address)
        for page in pages_of(site)
        for address in links_of(page).taken
        if urlsplit(address).scheme not in ("", "data") or urlsplit(address).netloc
    }
    assert outside == set()


def test_no_page_has_a_diagram_that_is_drawn_by_a_script_from_elsewhere(site: Path) -> None:
    # Material loads Mermaid from a server of others when it finds this class.
    assert [page.name for page in pages_of(site) if 'class="mermaid"' in page.read_text()] == []


def test_no_style_takes_anything_from_elsewhere(site: Path) -> None:
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert (
            re.findall(r"""(?:url\(\s*['"]?|@import\s+['"])(?:https?:)?//[^)'"]*""", style.read_text()) == []
        )


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    broken = {
        (page.name, address)
        for page in pages_of(site)
        if page.name != "404.html"  # its links are absolute, since it may be shown at any depth
        for address in [*links_of(page).led_to, *links_of(page).taken]
        if not leads_somewhere(page, address)
    }
    assert broken == set()


def leads_somewhere(page: Path, address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return False
    anchor = unquote(parts.fragment)
    # `__` begins what Material's own script acts upon.
    return not anchor or anchor.startswith("__") or anchor in links_of(target).anchors


@pytest.mark.parametrize("path", paths_of_pages())
def test_a_page_is_read_alike_in_the_repository_and_on_the_site(path: str) -> None:
    """Of lists, tables and blocks there are as many for either reader: they differ on what is indented and on blank lines."""
    text = (REPOSITORY / path).read_text()
    extensions = ["attr_list", "md_in_html", "pymdownx.superfences", "tables"]

    in_repository = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    on_site = markdown.markdown(text, extensions=extensions)

    assert tags_of(on_site) == tags_of(in_repository)


def tags_of(html: str) -> Counter[str]:
    counted = Counter(re.findall(r"<(\w+)", html))
    return Counter({tag: counted[tag] for tag in ("h1", "h2", "h3", "li", "ol", "pre", "table", "td", "ul")})


@pytest.mark.parametrize(
    ("path", "written", "shown"),
    [
        ("README.md", "see `docs/doctor.md`", "see [`docs/doctor.md`](doctor.md)"),
        ("README.md", "[why](docs/security.md#after-a-leak)", "[why](security.md#after-a-leak)"),
        ("docs/doctor.md", "`ARCHITECTURE.md` is the map", "[`ARCHITECTURE.md`](architecture.md) is the map"),
        ("docs/doctor.md", "[the map](../ARCHITECTURE.md)", "[the map](architecture.md)"),
        ("docs/doctor.md", "[others](followers.md)", "[others](followers.md)"),
        ("docs/doctor.md", "[plot](plot.svg)", "[plot](plot.svg)"),
        ("README.md", "![plot](docs/plot.svg)", "![plot](plot.svg)"),
        ("docs/doctor.md", "[the table](../bbs/routes/table.py)", "the table (`bbs/routes/table.py`)"),
        ("docs/doctor.md", "[up](#the-checks)", "[up](#the-checks)"),
        ("docs/doctor.md", "[there](https://example.com/a.md)", "[there](https://example.com/a.md)"),
        ("docs/doctor.md", "this is `docs/doctor.md`", "this is `docs/doctor.md`"),
        ("docs/doctor.md", "```\n`docs/shadow.md`\n```", "```\n`docs/shadow.md`\n```"),
    ],
)
def test_links_that_work_in_the_repository_work_on_the_site(path: str, written: str, shown: str) -> None:
    assert for_the_site(written, path) == shown


def test_a_here_document_is_copied_with_its_command(site: Path) -> None:
    """What is copied is what is neither a prompt nor output, by `docs/assets/site.css`."""
    page = (site / "getting-started.html").read_text()
    without_marked = re.sub(r'<span class="g[po]">.*?</span>', "", page)

    assert re.search(r'^ +"process_guid": "clock-1",$', without_marked, re.MULTILINE)
    assert "3 of 3 instances run" in page
    assert "3 of 3 instances run" not in without_marked


def test_output_stays_output() -> None:
    output = '<span class="go">a -&gt; b</span>'

    assert with_whole_commands(output) == output
