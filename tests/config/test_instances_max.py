"""Where the bound on a process' instances comes from."""

import pytest

from bbs.commands.cli import _parser
from bbs.commands.configured_parts import settings_of
from bbs.commands.serve_flags import config_of
from bbs.config.upstream import decode
from bbs.lifecycle.desired_lrps import INSTANCES_MAX


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("{}", INSTANCES_MAX),
        ('{"desired_lrp_instances_max":0}', INSTANCES_MAX),
        ('{"desired_lrp_instances_max":7}', 7),
    ],
)
def test_the_key_in_the_file(file: str, expected: int) -> None:
    decoded = decode(file.encode())

    assert decoded.unknown == ()
    assert settings_of(decoded.config).desired_lrp_instances_max == expected


@pytest.mark.parametrize(
    ("flags", "expected"), [((), INSTANCES_MAX), (("--desired-lrp-instances-max", "7"), 7)]
)
def test_the_flag(flags: tuple[str, ...], expected: int) -> None:
    assert config_of(_parser().parse_args(["serve", *flags])).settings.desired_lrp_instances_max == expected
