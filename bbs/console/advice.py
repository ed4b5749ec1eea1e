"""What to do about a command that failed: told to a person below the error, whose text stays upstream's."""

import textwrap
from typing import Final

from bbs.cfdot.errors import CommandFailed
from bbs.cfdot.target import NoAddress, Target
from bbs.console.targets import EXAMPLE

WIDTH: Final = 100

NO_ADDRESS: Final = f"""\
`bbs serve` without certificates on this machine:  --bbsURL http://127.0.0.1:8889
Another server's certificates:  --caCertFile, --clientCertFile, --clientKeyFile (CA_CERT_FILE, CLIENT_CERT_FILE, CLIENT_KEY_FILE)
Or give names to servers in ~/.config/bbs/targets.toml, and choose by --target NAME or BBS_TARGET; `bbs targets` lists them:

{EXAMPLE}"""


def advice(failed: CommandFailed, target: Target) -> str:
    """'' if there is nothing to add. ``target`` is whom the command talked to."""
    if isinstance(failed, NoAddress):
        return NO_ADDRESS
    if failed.__cause__ is None:
        return ""
    from bbs.console.faults import told_of

    text = told_of(failed, target)
    return f"\n{_in_lines(text)}\n" if text else ""


def _in_lines(text: str) -> str:
    """Paths and URLs stay whole, so that they can be copied."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
