"""Why an app is not as desired, and what will be done about it: in words, worked out by the rules that convergence goes by. Pure.

When convergence passes run is the server's own affair, and no client can ask. So what a pass will do is told as such, with
the time from which on a pass may do it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.lifecycle.lrp_convergence import STALE_UNCLAIMED_NS
from bbs.lifecycle.restart import RESTARTS_MAX, backoff_ns, should_restart
from bbs.lifecycle.suspects import is_missing
from bbs.models import pb
from bbs.words.app import App, Instance
from bbs.words.times import NS, age, duration

MS: Final = 10**6


class Why(StrEnum):
    """What a reason is about, for programs."""

    MISSING = "missing"
    UNCLAIMED = "unclaimed"
    CLAIMED = "claimed"
    CRASHED = "crashed"
    NOT_ROUTABLE = "not_routable"
    CELL_MISSING = "cell_missing"
    SUSPECT = "suspect"
    EVACUATING = "evacuating"
    EXTRA = "extra"
    NOT_DESIRED = "not_desired"
    TOO_MANY = "too_many"
    DOMAIN_NOT_FRESH = "domain_not_fresh"

    @property
    def is_caution(self) -> bool:
        """Whether it leaves the instances as they should be."""
        return self is Why.DOMAIN_NOT_FRESH


@dataclass(frozen=True, slots=True)
class Reason:
    """``index`` is ``None`` if it is about the whole app."""

    why: Why
    index: int | None
    text: str


def reasons(app: App, indices: range | None = None) -> Sequence[Reason]:
    """All that is not as desired, by index, and what concerns the whole app after that. Empty for a guid of which nothing is
    known: there is nothing to be amiss. With ``indices`` only these are looked at, and only their rows need be in ``app``.
    """
    return list(_reasons(app, indices))


def is_as_desired(found: Sequence[Reason]) -> bool:
    return all(reason.why.is_caution for reason in found)


def headline(app: App) -> str:
    """How many instances run of how many."""
    if not app.is_known:
        return "nothing is known of it: it is not desired, and has no instances"
    if app.desired is None:
        return f"not desired, with {_instances(len(app.instances))} left"
    wanted = app.desired.instances
    if not wanted:
        return f"stopped: no instance is desired{f', {len(app.instances)} left' if app.instances else ''}"
    serving = sum(index < wanted and each.serves for index, each in app.instances.items())
    return f"{serving} of {_instances(wanted)} {'runs' if wanted == 1 else 'run'}"


def told(found: Sequence[Reason]) -> Iterator[str]:
    """The reasons as lines for a person: those of neighbours who share a text are one line."""
    shared: dict[str, list[int]] = {}
    alone: list[str] = []
    for reason in found:
        if reason.index is None:
            alone.append(reason.text)
        else:
            shared.setdefault(reason.text, []).append(reason.index)
    for text, indices in shared.items():
        yield f"{'index' if len(indices) == 1 else 'indices'} {_ranges(indices)}: {text}"
    yield from alone


def _reasons(app: App, indices: range | None) -> Iterator[Reason]:
    wanted = min(app.desired.instances, INSTANCES_MAX) if app.desired is not None else 0
    instances = app.instances
    looked_at = range(wanted) if indices is None else range(indices.start, min(indices.stop, wanted))
    for index in sorted({*looked_at, *instances}):
        instance = instances.get(index, Instance())
        if index < wanted:
            for why, text in _of_desired(app, instance):
                yield Reason(why, index, text)
        else:
            for why, text in _of_extra(app, instance):
                yield Reason(why, index, text)
    if app.desired is not None and app.desired.instances > INSTANCES_MAX:
        text = f"{app.desired.instances} instances are desired, of which only {INSTANCES_MAX} are made"
        yield Reason(Why.TOO_MANY, None, text)
    if app.desired is not None and app.domain not in app.fresh_domains:
        text = (
            f"domain {app.domain} is not fresh: whoever desires its apps has not said lately that the list is complete. Missing"
            " instances are started all the same, extra ones are not stopped"
        )
        yield Reason(Why.DOMAIN_NOT_FRESH, None, text)


def _of_desired(app: App, instance: Instance) -> Iterator[tuple[Why, str]]:
    lrp = instance.ordinary
    if lrp is None:
        yield (
            Why.MISSING,
            "there is no instance; the next convergence pass makes it and asks the auctioneer to place it",
        )
    elif lrp.state == "UNCLAIMED":
        yield Why.UNCLAIMED, _unclaimed(lrp, app.seen_ns)
    elif lrp.state == "CRASHED":
        yield Why.CRASHED, _crashed(lrp, app.seen_ns)
    elif is_missing(lrp.actual_lrp_instance_key.cell_id, app.cells.keys()):
        yield Why.CELL_MISSING, _on_missing_cell(lrp, has_suspect=instance.suspect is not None)
    elif lrp.state == "CLAIMED":
        assert app.desired is not None
        yield Why.CLAIMED, _claimed(lrp, app.desired, app.seen_ns)
    elif lrp.HasField("routable") and not lrp.routable:
        yield (
            Why.NOT_ROUTABLE,
            (
                f"runs on {_cell(lrp)}, which says that it is not ready for requests (not routable), so no router sends any"
            ),
        )
    yield from _of_other_rows(app, instance)


def _of_extra(app: App, instance: Instance) -> Iterator[tuple[Why, str]]:
    """Rows beyond what is desired. Whether they go depends on the domain: that of the DesiredLRP, or their own if there is none."""
    lrp = instance.ordinary
    if lrp is not None:
        domain = app.desired.domain if app.desired is not None else lrp.actual_lrp_key.domain
        if domain not in app.fresh_domains:
            end = f"it stays while domain {domain} is not fresh"
        elif lrp.state in ("CLAIMED", "RUNNING"):
            end = f"the next convergence pass has {_cell(lrp)} stop it"
        else:
            end = "the next convergence pass removes it"
        if app.desired is None:
            yield Why.NOT_DESIRED, f"{lrp.state.lower()}, though nobody desires the app; {end}"
        else:
            yield Why.EXTRA, f"{lrp.state.lower()}, though only {app.desired.instances} are desired; {end}"
    yield from _of_other_rows(app, instance)


def _of_other_rows(app: App, instance: Instance) -> Iterator[tuple[Why, str]]:
    if (suspect := instance.suspect) is not None:
        yield Why.SUSPECT, _suspect(suspect, instance.ordinary, app)
    if (evacuating := instance.evacuating) is not None:
        cell_id = evacuating.actual_lrp_instance_key.cell_id
        if cell_id in app.cells:
            text = f"{_cell(evacuating)} is being evacuated and keeps its container until it runs elsewhere"
        else:
            text = f"{_cell(evacuating)} was being evacuated and is gone; the next convergence pass removes the row"
        yield Why.EVACUATING, text


def _unclaimed(lrp: pb.ActualLRP, now_ns: int) -> str:
    """``since`` is when it became unclaimed, or when the auctioneer last refused it, whichever is later."""
    waiting = age(lrp.since, now_ns)
    if lrp.placement_error:
        what = f"unclaimed; the last auction was refused {waiting} ago: {lrp.placement_error}"
    else:
        what = f"unclaimed for {waiting}: no cell has taken it yet"
    return (
        f"{what}{_crashes(lrp)}; {_pass(lrp.since + STALE_UNCLAIMED_NS - now_ns)} asks the auctioneer again"
    )


def _crashed(lrp: pb.ActualLRP, now_ns: int) -> str:
    what = f"crashed {_times(lrp.crash_count)}, the last time {age(lrp.since, now_ns)} ago"
    if lrp.crash_reason:
        what += f": {lrp.crash_reason}"
    if lrp.crash_count >= RESTARTS_MAX:
        return f"{what}; after {RESTARTS_MAX} crashes it is not started again: stop the app and start it, or desire it anew"
    if should_restart(now_ns=now_ns, crashed_at_ns=lrp.since, crash_count=lrp.crash_count):
        wait_ns = 0
    else:
        wait_ns = lrp.since + backoff_ns(lrp.crash_count) - now_ns
    return f"{what}; {_pass(wait_ns)} has it placed again"


def _claimed(lrp: pb.ActualLRP, desired: pb.DesiredLRP, now_ns: int) -> str:
    what = f"claimed by {_cell(lrp)} for {age(lrp.since, now_ns)}, which makes its container and waits until it is healthy"
    timeout_ns = desired.start_timeout_ms * MS
    if timeout_ns and now_ns - lrp.since > timeout_ns:
        what += f"; that is longer than its start timeout of {duration(timeout_ns)}, see the app's log and the cell's rep"
    return what + _crashes(lrp)


def _on_missing_cell(lrp: pb.ActualLRP, *, has_suspect: bool) -> str:
    what = f"{lrp.state.lower()} on {_cell(lrp)}, which is not announced any more"
    if has_suspect:
        return f"{what}; the next convergence pass takes it from there, and a later one has it placed again"
    return f"{what}; the next convergence pass makes it suspect and asks the auctioneer for a replacement"


def _suspect(suspect: pb.ActualLRP, replacement: pb.ActualLRP | None, app: App) -> str:
    what = f"suspect: {suspect.state.lower()} on {_cell(suspect)}"
    if suspect.actual_lrp_instance_key.cell_id in app.cells:
        return f"{what}, which is announced again; the next convergence pass makes it the instance again"
    if replacement is not None and replacement.state == "RUNNING":
        return f"{what}, which is missing; its replacement runs, and the next convergence pass removes it"
    return f"{what}, which is missing; it may still serve, and is kept until its replacement runs or the cell is back"


def _pass(wait_ns: int) -> str:
    """Who acts: a pass, once ``wait_ns`` are over."""
    if wait_ns <= 0:
        return "the next convergence pass"
    return f"the first convergence pass in {duration(wait_ns + NS - 1)} or later"


def _crashes(lrp: pb.ActualLRP) -> str:
    if not lrp.crash_count:
        return ""
    last = f", the last one: {lrp.crash_reason}" if lrp.crash_reason else ""
    return f" (after {_times(lrp.crash_count, 'crash', 'crashes')}{last})"


def _times(count: int, one: str = "time", many: str = "times") -> str:
    return f"{count} {one if count == 1 else many}"


def _instances(count: int) -> str:
    return _times(count, "instance", "instances")


def _cell(lrp: pb.ActualLRP) -> str:
    cell_id = lrp.actual_lrp_instance_key.cell_id
    return f"cell {cell_id}" if cell_id else "a cell without a name"


def _ranges(indices: Sequence[int]) -> str:
    """In short: 0-3, 7."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
