"""Who has a dashboard, and where: the key in the file, and the flags of `bbs serve`."""

import pytest

from bbs.commands.cli import _parser
from bbs.commands.configured_parts import settings_of
from bbs.commands.serve_flags import config_of
from bbs.config.upstream import decode


@pytest.mark.parametrize(
    ("file", "address", "dashboard"),
    [
        ("{}", None, False),
        ('{"debug_address":"127.0.0.1:1"}', "127.0.0.1:1", False),
        ('{"debug_address":"127.0.0.1:1","enable_dashboard":false}', "127.0.0.1:1", False),
        ('{"debug_address":"127.0.0.1:1","enable_dashboard":true}', "127.0.0.1:1", True),
        ('{"enable_dashboard":true}', None, True),
    ],
)
def test_the_key_in_the_file(file: str, address: str | None, dashboard: bool) -> None:
    decoded = decode(file.encode())
    settings = settings_of(decoded.config)

    assert decoded.unknown == ()
    assert (settings.debug_address, settings.dashboard) == (address, dashboard)
    assert not settings.debug_any_port


@pytest.mark.parametrize(
    ("flags", "address", "any_port", "dashboard"),
    [
        ((), "127.0.0.1:17017", True, True),
        (("--debug-listen", "127.0.0.1:1"), "127.0.0.1:1", False, True),
        (("--debug-listen", "127.0.0.1:17017"), "127.0.0.1:17017", False, True),
        (("--listen", "0.0.0.0:17017"), "127.0.0.1:0", True, True),
        (("--health-listen", "127.0.0.1:17017"), "127.0.0.1:0", True, True),
        (("--locket-listen", "[::1]:17017"), "127.0.0.1:17017", True, True),
        (("--no-dashboard",), None, True, False),
        (("--no-dashboard", "--debug-listen", "127.0.0.1:1"), "127.0.0.1:1", False, False),
    ],
)
def test_the_flags(flags: tuple[str, ...], address: str | None, any_port: bool, dashboard: bool) -> None:
    settings = config_of(_parser().parse_args(["serve", *flags])).settings

    assert (settings.debug_address, settings.debug_any_port) == (address, any_port)
    assert settings.dashboard is dashboard
