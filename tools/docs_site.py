"""What `make docs` does beyond mkdocs' own: a hook, named in mkdocs.yml.

The pages at the top of the repository are pages of the site, too, from the same files. Links between pages are written so that
they work in the repository, and here they are made to work on the site.
"""

import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY: Final = Path(__file__).resolve().parent.parent

PAGES: Final = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "packaging/README.md": "packaging.md",
}
"""Pages outside docs/, by their path in the repository, and what they are called on the site."""

_LINK: Final = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_PAGE_IN_CODE: Final = re.compile(r"(?<![\[`])`(?P<path>[\w/-]+\.md)`(?![\]`])")
_FENCE: Final = re.compile(r"^ *(```|~~~)")
_CONTINUED: Final = re.compile(r'<span class="go">&gt; ?(?P<command>.*)</span>')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, src_uri in PAGES.items():
        files.append(File.generated(config, src_uri, content=(REPOSITORY / path).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return for_the_site(markdown, path_in_repository(page.file.src_uri))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return with_whole_commands(html)


def with_whole_commands(html: str) -> str:
    """A page with its here-documents as commands: Pygments takes them for output, which whoever copies commands does not get
    (`docs/assets/site.css`). A line of a console block that begins with ``> `` goes on with a command.
    """
    return _CONTINUED.sub(r'<span class="gp">&gt; </span>\g<command>', html)


def path_in_repository(src_uri: str) -> str:
    """The path of the file that a page of the site is made from."""
    return next((path for path, uri in PAGES.items() if uri == src_uri), f"docs/{src_uri}")


def for_the_site(markdown: str, path: str) -> str:
    """The page at ``path`` of the repository with links that work on the site.

    A page that is named in backticks becomes a link. A link to what is no page, but a file of the repository, becomes the
    file's path in backticks.
    """
    lines, is_code = [], False
    for line in markdown.split("\n"):
        if _FENCE.match(line):
            is_code = not is_code
        elif not is_code:
            line = _LINK.sub(lambda link: _link(link, path), line)
            line = _PAGE_IN_CODE.sub(lambda span: _named(span, path), line)
        lines.append(line)
    return "\n".join(lines)


def _link(link: re.Match[str], path: str) -> str:
    target, _, anchor = link["target"].partition("#")
    if not target or ":" in target:  # within the page, or an address
        return link[0]
    named = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if (uri := _src_uri(named)) is None:
        if not named.startswith("docs/"):
            return f"{link['text']} (`{named}`)"
        uri = named.removeprefix("docs/")
    return f"[{link['text']}]({uri}{'#' + anchor if anchor else ''})"


def _named(span: re.Match[str], path: str) -> str:
    uri = _src_uri(span["path"])
    return span[0] if uri is None or span["path"] == path else f"[{span[0]}]({uri})"


def _src_uri(path: str) -> str | None:
    """What the page at ``path`` of the repository is called on the site; None for what is no page."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if re.fullmatch(r"docs/[\w-]+\.md", path) else None
