"""What to do about a command that failed: told to a person below the error, whose text stays upstream's."""

from bbs.cfdot.errors import CommandFailed
from bbs.cfdot.target import NoAddress, Target
from bbs.console.targets import EXAMPLE

NO_ADDRESS = f"""\
`bbs serve` without certificates on this machine:  --bbsURL http://127.0.0.1:8889
Another server's certificates:  --caCertFile, --clientCertFile, --clientKeyFile (CA_CERT_FILE, CLIENT_CERT_FILE, CLIENT_KEY_FILE)
Or give names to servers in ~/.config/bbs/targets.toml, and choose by --target NAME or BBS_TARGET; `bbs targets` lists them:

{EXAMPLE}"""


def advice(failed: CommandFailed, target: Target) -> str:
    """'' if there is nothing to add. ``target`` is whom the command talked to."""
    if isinstance(failed, NoAddress):
        return NO_ADDRESS
    return ""
