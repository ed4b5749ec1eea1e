"""The file of named targets: whom ``bbs`` may talk to, by names of the operator's own.

    default = "lab"

    [targets.lab]
    url = "http://127.0.0.1:8889"

    [targets.prod]
    url = "https://bbs.service.cf.internal:8889"
    ca_file = "prod/ca.crt"        # beside this file; ~ is the home directory
    cert_file = "prod/client.crt"
    key_file = "prod/client.key"
    locket = "locket.service.cf.internal:8891"

It is TOML. What is in a target stands for the environment variables of `VARIABLES`, under which commands look for it.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bbs.cfdot.errors import Invalid
from bbs.cfdot.target import TIMEOUT_BITS, scheme_of

FILE_VARIABLE: Final = "BBS_TARGETS"
FILE_BYTES_MAX: Final = 1024 * 1024
"""Room for a thousand targets. Without a bound a path such as ``/dev/zero``, which never ends, would take all memory."""
TIMEOUT_MAX_S: Final = (1 << (TIMEOUT_BITS - 1)) - 1

VARIABLES: Final[Mapping[str, str]] = {
    "url": "BBS_URL",
    "ca_file": "CA_CERT_FILE",
    "cert_file": "CLIENT_CERT_FILE",
    "key_file": "CLIENT_KEY_FILE",
    "skip_cert_verify": "SKIP_CERT_VERIFY",
    "timeout_s": "CFDOT_TIMEOUT",
    "locket": "LOCKET_API_LOCATION",
    "debug": "BBS_DEBUG",
}
"""The keys of a target, and which variable of the environment each stands for."""

FILES: Final = ("ca_file", "cert_file", "key_file")

EXAMPLE: Final = """\
    default = "lab"

    [targets.lab]
    url = "http://127.0.0.1:8889"

    [targets.prod]
    url = "https://bbs.service.cf.internal:8889"
    ca_file = "prod/ca.crt"
    cert_file = "prod/client.crt"
    key_file = "prod/client.key"
    locket = "locket.service.cf.internal:8891"
"""


@dataclass(frozen=True, slots=True)
class NamedTarget:
    """``settings`` has the values by their keys in the file, as texts; paths are absolute."""

    name: str
    settings: Mapping[str, str]

    @property
    def variables(self) -> Mapping[str, str]:
        """The settings by the names that environment variables have."""
        return {VARIABLES[key]: value for key, value in self.settings.items()}

    @property
    def is_plain(self) -> bool:
        return scheme_of(self.settings["url"]) == "http"

    def problems(self) -> list[str]:
        """What is wrong with its files, as far as one can tell by opening them."""
        if self.is_plain:
            return []
        wanted = [key for key in FILES if key != "ca_file" or self.settings.get("skip_cert_verify") != "true"]
        missing = [f"no {key}" for key in wanted if key not in self.settings]
        return missing + [
            f"{key} {self.settings[key]}: {why}"
            for key in wanted
            if key in self.settings and (why := _unreadable(self.settings[key]))
        ]


@dataclass(frozen=True, slots=True)
class Targets:
    """What a file says. ``default`` is '' if none is named. ``path`` is where the file is, or would be."""

    path: Path
    by_name: Mapping[str, NamedTarget]
    default: str = ""

    def named(self, name: str) -> NamedTarget:
        """
        Raises:
          Invalid: there is none of that name; the text has those that there are.
        """
        if (target := self.by_name.get(name)) is not None:
            return target
        if not self.by_name:
            raise Invalid(
                f"There is no target '{name}', since {self.path} names none. Write it, for example:\n\n{EXAMPLE}"
            )
        raise Invalid(f"There is no target '{name}' in {self.path}. It names: {', '.join(self.by_name)}")


def file_path(environment: Mapping[str, str]) -> Path | None:
    """Where the file of targets is looked for; ``None`` if there is no home directory to look in."""
    if named := environment.get(FILE_VARIABLE, ""):
        return Path(named)
    # A relative directory is to be passed over: so says the specification of these variables.
    if (configured := environment.get("XDG_CONFIG_HOME", "")).startswith("/"):
        return Path(configured) / "bbs" / "targets.toml"
    home = environment.get("HOME", "")
    return Path(home) / ".config" / "bbs" / "targets.toml" if home else None


def read_targets(environment: Mapping[str, str]) -> Targets:
    """No targets, if there is no file and none is named by the environment.

    Raises:
      Invalid: the file can't be read, or is wrong; the text says where, what, and what to do.
    """
    path = file_path(environment)
    if path is None:
        return Targets(Path("~/.config/bbs/targets.toml"), {})
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        if environment.get(FILE_VARIABLE):
            raise Invalid(
                f"The file of targets {path}, which {FILE_VARIABLE} names, is not there."
                f" Write it, or unset {FILE_VARIABLE}"
            ) from error
        return Targets(path, {})
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno or 0).lower() if isinstance(error, OSError) else str(error)
        raise Invalid(f"The file of targets {path} can't be read: {why}") from error
    if len(content) > FILE_BYTES_MAX:
        raise Invalid(
            f"The file of targets {path} is longer than {FILE_BYTES_MAX} bytes; is it the right one?"
        )
    return parse(content, path, home=environment.get("HOME", ""))


def parse(content: bytes, path: Path, *, home: str) -> Targets:
    """The targets that ``content`` spells. ``path`` is what relative paths in it start from, and what errors name.

    Raises:
      Invalid: as `read_targets`.
    """
    try:
        text = content.decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Invalid(f"{path}, line {line}: this is no UTF-8, as TOML must be. Save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise Invalid(_no_toml(path, str(error))) from error
    return _Reader(path, text, home).targets(document)


def _no_toml(path: Path, why: str) -> str:
    what, _, place = why.partition(" (at ")
    found = re.match(r"line (\d+)", place)
    where = f"{path}, line {found[1]}" if found else f"{path}, at its end"
    hint = (
        'Texts are to be in quotes, as in url = "https://…"'
        if "Invalid value" in what
        else "https://toml.io says how"
    )
    return f"{where}: this is no TOML: {what}. {hint}"


class _Reader:
    """Reads one document, and tells of what is wrong in it by its line."""

    def __init__(self, path: Path, text: str, home: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._home = home

    def targets(self, document: Mapping[str, object]) -> Targets:
        for key in document:
            if key not in ("default", "targets"):
                hint = "a target is [targets.NAME]" if isinstance(document[key], dict) else "remove it"
                raise self._wrong(key, f"'{key}' is nothing that is known here; {hint}")
        tables = document.get("targets", {})
        if not isinstance(tables, dict):
            raise self._wrong("targets", "'targets' is to be tables; a target is [targets.NAME]")
        by_name = {name: self._target(name, table) for name, table in tables.items()}
        default = document.get("default", "")
        if not isinstance(default, str) or (default and default not in by_name):
            names = ", ".join(by_name) or "none"
            raise self._wrong(
                "default", f"'default' is to be the name of a target; those that there are: {names}"
            )
        return Targets(self._path, by_name, default)

    def _target(self, name: str, table: object) -> NamedTarget:
        if not isinstance(table, dict):
            raise self._wrong("targets", f"the target '{name}' is to be a table: [targets.{name}]")
        settings = {key: self._setting(name, key, value) for key, value in table.items()}
        if "url" not in settings:
            raise self._wrong("", f"the target '{name}' has no url; give it one, such as {URLS}", name)
        return NamedTarget(name, settings)

    def _setting(self, name: str, key: str, value: object) -> str:
        if key not in VARIABLES:
            raise self._wrong(key, f"a target has no '{key}'; {_meant(key, VARIABLES)}", name)
        if key == "skip_cert_verify":
            if not isinstance(value, bool):
                raise self._wrong(key, "'skip_cert_verify' is to be true or false, without quotes", name)
            return "true" if value else "false"
        if key == "timeout_s":
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= TIMEOUT_MAX_S:
                raise self._wrong(
                    key,
                    f"'timeout_s' is to be whole seconds, 0 (none) to {TIMEOUT_MAX_S}, without quotes",
                    name,
                )
            return str(value)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self._wrong(key, f"'{key}' is to be a text in quotes", name)
        if key == "url" and scheme_of(value) not in ("http", "https"):
            raise self._wrong(key, f"'{value}' is no URL of a BBS; write one such as {URLS}", name)
        if key in ("locket", "debug") and not _HOST_AND_PORT.fullmatch(value):
            raise self._wrong(key, f"'{value}' is to be host:port, such as 127.0.0.1:8891", name)
        return self._absolute(value) if key in FILES else value

    def _absolute(self, path: str) -> str:
        """As written, but for ``~``; relative to the directory of the file."""
        if path.startswith("~/") and self._home:
            path = f"{self._home}{path[1:]}"
        return str((self._path.parent / Path(path).expanduser()).absolute())

    def _wrong(self, key: str, what: str, target: str = "") -> Invalid:
        line = self._line_of(key, target)
        return Invalid(f"{self._path}, line {line}: {what}" if line else f"{self._path}: {what}")

    def _line_of(self, key: str, target: str) -> int:
        """Where a key of a target is written, else where the target begins; of no target, the key at the top. 0 if it is written
        in a way that is not looked for.
        """
        within, begins = "", 0
        for number, line in enumerate(self._lines, start=1):
            if header := _HEADER.match(line):
                within = header[1].strip("\"'")
                if within == target or (not target and within == key):
                    begins = number
                    if not key or not target:
                        return number
            elif within == target and (name := _KEY.match(line)) and name[1].strip("\"'") == key:
                return number
        return begins


URLS: Final = "https://bbs.service.cf.internal:8889 or http://127.0.0.1:8889"
_HOST_AND_PORT: Final = re.compile(r"[^\s/]+:\d{1,5}")
_HEADER: Final = re.compile(r"\s*\[\s*(?:targets\s*\.\s*)?([^\]]+?)\s*\]")
_KEY: Final = re.compile(r"\s*([^\s=.]+)\s*[=.]")


def _meant(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"'{near[0]}' is meant, maybe" if near else f"it may have: {', '.join(known)}"


def _unreadable(path: str) -> str:
    """Why a file can't be read; '' if it can."""
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    return ""
