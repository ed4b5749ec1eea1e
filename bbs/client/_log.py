"""The log that the client writes to, if it is given one; `bbs.log.Logger` fits."""

from collections.abc import Mapping
from typing import Protocol


class Log(Protocol):
    def session(self, name: str, data: Mapping[str, object] | None = None, /) -> "Log": ...

    def debug(self, action: str, data: Mapping[str, object] | None = None, /) -> None: ...

    def error(
        self,
        action: str,
        data: Mapping[str, object] | None = None,
        /,
        *,
        error: BaseException | str | None = None,
    ) -> None: ...


class NoLog:
    """The log of a client that was given none: every line is dropped."""

    def session(self, name: str, data: Mapping[str, object] | None = None, /) -> "NoLog":
        return self

    def debug(self, action: str, data: Mapping[str, object] | None = None, /) -> None:
        pass

    def error(
        self,
        action: str,
        data: Mapping[str, object] | None = None,
        /,
        *,
        error: BaseException | str | None = None,
    ) -> None:
        pass
