"""Filters by app guid: which DesiredLRPs they match, in turns with others, whatever a client puts into them.

Upstream puts an app guid into a LIKE pattern as it is, so its wildcards work (spec: api.md 8.5). One regular expression for
the whole pattern, with ``.*`` for ``%``, could take for ever: where a match fails it tries every other place for each of
them. Here the texts between two ``%`` are looked for one after another, each from where the one before ended, and the first
place is always taken. That finds every match: what comes later only has more room the earlier a text matches.
"""

import re
from collections.abc import Sequence
from typing import Final

from bbs.concurrency.turns import CountedTurns
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import InvalidRequest
from bbs.store.tables import DesiredLRPTable

GUIDS_IN_A_TURN: Final = 2_000
"""Guids looked up between two checkpoints: 1 ms."""

PATTERN_COSTS: Final = 50
"""As many lookups: what making a pattern or trying one takes at worst, 0.1 ms."""

PATTERNS_MAX: Final = 1_000
"""App guids with wildcards in one request. Nobody is known to send any."""

CHARACTERS_MAX: Final = 1_024
"""A longer app guid matches nothing: a process guid has 255 at most, and nobody needs so many wildcards."""

_WILDCARD: Final = re.compile(r"[%_\\]")


class AppGuids:
    """The distinct app guids of one request: texts without a wildcard in ``_plain``, the others compiled in ``_patterns``.
    Made by `app_guids`.
    """

    def __init__(self) -> None:
        self._plain: dict[str, None] = {}
        self._patterns: list[Like] = []

    async def filtered(self, lrps: Sequence[DesiredLRP]) -> list[DesiredLRP]:
        """Those that any of the app guids matches, in their order."""
        found, turns = [], CountedTurns(GUIDS_IN_A_TURN)
        # Each beginning of a process guid that is as long as some app guid is looked up. App guids are UUIDs, so there is
        # one length, and thousands of them cost no more than one.
        lengths = {len(guid) for guid in self._plain}
        for lrp in lrps:
            guid = lrp.process_guid
            if any(guid[:length] in self._plain for length in lengths):
                found.append(lrp)
            else:
                for pattern in self._patterns:
                    await turns.done(PATTERN_COSTS)
                    if pattern.matches(guid):
                        found.append(lrp)
                        break
            await turns.done(1 + len(lengths))
        return found

    async def found_in(self, table: DesiredLRPTable) -> list[DesiredLRP]:
        """Those of all rows that any of the app guids matches, in no particular order.

        The table's order finds the rows of a plain guid directly; a pattern, or '' which matches all, has to look at
        each row.
        """
        if self._patterns or "" in self._plain:
            return await self.filtered(list(table.rows.values()))
        found: dict[str, DesiredLRP] = {}
        turns = CountedTurns(GUIDS_IN_A_TURN)
        for app_guid in self._plain:
            before = len(found)
            found.update((lrp.process_guid, lrp) for lrp in table.with_prefix(app_guid))
            await turns.done(1 + len(found) - before)
        return list(found.values())


async def app_guids(texts: Sequence[str]) -> AppGuids:
    """The filter for ``texts`` as they stand in a request: any of them may match.

    Raises:
      InvalidRequest: too many have wildcards.
    """
    guids, turns = AppGuids(), CountedTurns(GUIDS_IN_A_TURN)
    for text in dict.fromkeys(texts):
        await turns.done()
        if len(text) > CHARACTERS_MAX:
            continue
        if _WILDCARD.search(text) is None:
            guids._plain[text] = None
            continue
        if len(guids._patterns) == PATTERNS_MAX:
            raise InvalidRequest(f"Invalid field: app_guids: more than {PATTERNS_MAX} with wildcards")
        guids._patterns.append(like(text))
        await turns.done(PATTERN_COSTS)
    return guids


class Like:
    """What SQL's LIKE matches, for a pattern that ends in a ``%``: ``first`` at the beginning, then ``others`` in order."""

    def __init__(self, first: re.Pattern[str], others: Sequence[re.Pattern[str]]) -> None:
        self._first = first
        self._others = others

    def matches(self, text: str) -> bool:
        found = self._first.match(text)
        for part in self._others:
            if found is None:
                return False
            found = part.search(text, found.end())
        return found is not None


def like(prefix: str) -> Like:
    """The pattern ``<prefix>%``: ``_`` is any one character, ``%`` any text, and a backslash has the next one stand for
    itself.
    """
    parts = [""]
    for escaped, character in re.findall(r"(?s)(\\?)(.)", prefix):
        if character == "%" and not escaped:
            parts.append("")
        else:
            parts[-1] += "." if character == "_" and not escaped else re.escape(character)
    first, *others = (re.compile(part, re.DOTALL) for part in parts)
    return Like(first, others)
