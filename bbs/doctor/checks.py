"""The checks: each looks at the facts and says what it makes of them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from math import isinf
from typing import Final

from bbs.convergence.lrp_sets import LRPSets
from bbs.doctor.facts import Answers, CertificateFile, DatabaseSays, Facts, ProcessSays, Unknown
from bbs.lifecycle.domains import is_fresh
from bbs.models.actual_lrp import ActualLRPKey
from bbs.models.domain import NEVER_NS
from bbs.store.migrations import SCHEMA_VERSION

CERTIFICATE_CAUTION_DAYS: Final = 30
ROUND_TRIP_CAUTION_S: Final = 0.02
"""Each write waits for a round trip or two; a database in the same place answers within a millisecond."""
STANDBY_LAG_CAUTION_S: Final = 10.0
NAMED_MAX: Final = 5
SECOND_NS: Final = 10**9
NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Before all that a certificate may say."""


class Verdict(StrEnum):
    """``SKIPPED``: nothing is known, and nobody is to blame. Only ``WRONG`` makes a deployment unhealthy."""

    OK = "ok"
    CAUTION = "caution"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """``remedy`` is '' where there is nothing to do. ``details`` has all of what ``reason`` names the first few of, one line each."""

    verdict: Verdict
    reason: str
    remedy: str = ""
    details: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    judge: Callable[[Facts], Finding]


def configuration(facts: Facts) -> Finding:
    remedy = "bbs check-config FILE says what to do about each"
    if isinstance(facts.configuration, Unknown):
        return _unknown(facts.configuration, remedy)
    if facts.problems:
        return Finding(
            Verdict.WRONG, f"a server would not start with this: {'; '.join(facts.problems)}", remedy
        )
    if facts.cautions:
        told = "; ".join(f"{caution.key} {caution.text}" for caution in facts.cautions)
        return Finding(Verdict.CAUTION, told, remedy)
    return Finding(Verdict.OK, "a server starts with it")


def certificates(facts: Facts) -> Finding:
    """By expiry: those first that can't be read, then whichever is the next to expire."""
    if not facts.certificates:
        return Finding(Verdict.SKIPPED, "there are none: neither the configuration nor a flag names any")
    now = _moment(facts.now_ns)
    worst, told, details = Verdict.OK, list[str](), list[str]()
    for file in sorted(facts.certificates, key=lambda file: _ends(file).timestamp()):
        if isinstance(file.ends, Unknown):
            worst = Verdict.WRONG
            details.append(f"{file.key}: {file.path} can't be read: {file.ends.why}")
            told.append(details[-1])
            continue
        days = (file.ends - now).total_seconds() / 86_400
        when = f"{file.ends:%Y-%m-%d %H:%M} UTC"
        details.append(
            f"{file.key}: {file.path} "
            + (f"expired on {when}" if days < 0 else f"expires on {when}, in {days:.0f} days")
        )
        has_others = days < 0 and file.last_ends is not None and file.last_ends > now
        if has_others:
            details[-1] += "; others in it are still good"
        if days < CERTIFICATE_CAUTION_DAYS:
            told.append(details[-1])
            is_wrong = worst is Verdict.WRONG or (days < 0 and not has_others)
            worst = Verdict.WRONG if is_wrong else Verdict.CAUTION
    if told:
        remedy = "replace the files, and send the server SIGHUP to have them read"
        return Finding(worst, "; ".join(told), remedy, details)
    first = min(facts.certificates, key=lambda file: _ends(file).timestamp())
    return Finding(
        Verdict.OK, f"the first to expire is {first.key}, on {_ends(first):%Y-%m-%d}", details=details
    )


def _ends(file: CertificateFile) -> datetime:
    return NO_TIME if isinstance(file.ends, Unknown) else file.ends


def locket(facts: Facts) -> Finding:
    if isinstance(facts.cells, Unknown):
        return _unknown(
            facts.cells,
            "see that Locket runs there, and that the CA which is given for it is its own; without it a master ends, and no other"
            " one begins",
        )
    return Finding(Verdict.OK, f"answers, and knows of {len(facts.cells)} cell{_s(len(facts.cells))}")


def master(facts: Facts) -> Finding:
    process = facts.process
    since = None if isinstance(process, Unknown) else process.active_since
    if isinstance(facts.master, Unknown):
        return _unknown(facts.master, "see the check `locket`")
    if (
        not facts.master.owner
        and since is not None
        and isinstance(process, ProcessSays)
        and not process.owner
    ):
        age_s = (_moment(facts.now_ns) - since).total_seconds()
        return Finding(
            Verdict.OK,
            f"the process beside us, for {_age(age_s)}; it is alone, as `bbs serve` is, and takes no lock",
        )
    if not facts.master.owner and isinstance(facts.answers, Answers) and facts.answers.is_master:
        return Finding(
            Verdict.CAUTION,
            f"nobody has Locket's lock, and yet {facts.answers.url} answers as the master",
            "none is needed if that is `bbs serve`, which is alone and takes no lock; --health HOST:PORT would tell",
        )
    if not facts.master.owner:
        return Finding(
            Verdict.WRONG,
            "nobody has Locket's lock, so nobody answers requests",
            "start a server; if one runs, its log says why it can't take the lock (locket-lock, migration-manager)",
        )
    if since is not None:
        age_s = (_moment(facts.now_ns) - since).total_seconds()
        return Finding(Verdict.OK, f"{facts.master}: the process beside us, for {_age(age_s)}")
    return Finding(Verdict.OK, f"{facts.master}; since when, its own health port says")


def process(facts: Facts) -> Finding:
    says = facts.process
    if isinstance(says, Unknown):
        return _unknown(says, "see that the server runs on this machine; its log ends with why it does not")
    if says.active_since is None:
        return Finding(Verdict.OK, f"runs: {says.not_ready or 'it serves reads'}")
    if says.not_ready:
        return Finding(
            Verdict.WRONG,
            says.not_ready,
            "wait for the migration or the load; if they do not end, see migration-manager in the log",
        )
    return Finding(Verdict.OK, "is the master, and answers requests")


def requests(facts: Facts) -> Finding:
    answers = facts.answers
    if isinstance(answers, Unknown):
        return _unknown(
            answers,
            "see that the address is the master's, and that the certificates are of its CA and have not expired",
        )
    if not answers.is_master:
        return Finding(Verdict.OK, f"{answers.url} answers reads, and is not the master")
    return Finding(Verdict.OK, f"{answers.url} answers them, as the master")


def standby_lag(facts: Facts) -> Finding:
    if isinstance(facts.metrics, Unknown):
        return _unknown(facts.metrics, "see that the server runs, and that debug_address is its own")
    staleness_s = facts.metrics.get("bbs_following_staleness_seconds")
    if staleness_s is None:
        return Finding(Verdict.SKIPPED, "the page does not say")
    if facts.metrics.get("bbs_lock_held"):
        return Finding(Verdict.SKIPPED, "this process is the master; ask beside the standby")
    if staleness_s > STANDBY_LAG_CAUTION_S:
        return Finding(
            Verdict.CAUTION,
            (
                "memory has never been what the database is"
                if isinf(staleness_s)
                else f"memory is {_age(staleness_s)} behind the database"
            )
            + ", so a takeover takes longer",
            "see failed-to-read-ahead and cannot-follow-changes in its log; on Postgres wal_level = logical has changes come as"
            " they are committed",
        )
    return Finding(Verdict.OK, f"memory is {staleness_s:.1f} s behind the database")


def subscribers(facts: Facts) -> Finding:
    if isinstance(facts.metrics, Unknown):
        return _unknown(facts.metrics, "see that the server runs, and that debug_address is its own")
    cut_off = int(facts.metrics.get("bbs_subscribers_cut_off", 0))
    if cut_off:
        return Finding(
            Verdict.CAUTION,
            f"{cut_off} that read too slowly {'was' if cut_off == 1 else 'were'} cut off since the start",
            "find the subscribers that can't keep up (route-emitters, as a rule); they connect anew and list everything",
        )
    return Finding(Verdict.OK, "none was cut off since the start")


def database(facts: Facts) -> Finding:
    says = facts.database
    if isinstance(says, Unknown):
        return _unknown(says, "see that the database runs, and that database_connection_string is right")
    told = f"{says.version} answers within {says.round_trip_s * 1e3:.1f} ms"
    if says.round_trip_s > ROUND_TRIP_CAUTION_S:
        return Finding(
            Verdict.CAUTION,
            told,
            "each write waits for it: bring the server closer, or find what keeps it busy",
        )
    return Finding(Verdict.OK, told)


def schema(facts: Facts) -> Finding:
    says = _database_says(facts)
    if isinstance(says, Finding):
        return says
    version = says.schema_version
    if version is None:
        return Finding(
            Verdict.CAUTION,
            "there are no tables of a BBS",
            "none is needed if this is new: the first master makes them",
        )
    if version > SCHEMA_VERSION:
        return Finding(
            Verdict.WRONG,
            f"version {version} is newer than {SCHEMA_VERSION}, which this release knows: it would not start",
            "run the release that migrated the database, or a later one",
        )
    if version < SCHEMA_VERSION:
        return Finding(
            Verdict.CAUTION,
            f"version {version}: the next master of this release migrates it to {SCHEMA_VERSION}",
            "requests are answered 503 while it does; keep a backup until it is done",
        )
    return Finding(Verdict.OK, f"version {version}, as it should be")


def encryption_key(facts: Facts) -> Finding:
    says = _database_says(facts)
    if isinstance(says, Finding):
        return says
    stored, active = says.key_label, facts.active_key_label
    if not stored:
        return Finding(
            Verdict.CAUTION, "the database does not say which key all is sealed with", "none is needed"
        )
    if stored == active:
        return Finding(Verdict.OK, f'all is sealed with "{active}"; other keys are not needed any more')
    if stored not in facts.key_labels:
        return Finding(
            Verdict.WRONG,
            f'values are sealed with "{stored}", a key that encryption_keys does not have',
            f'add the key "{stored}" again until the rotation to "{active}" is done',
        )
    return Finding(
        Verdict.CAUTION,
        f'the rotation from "{stored}" to "{active}" is not done',
        f'leave "{stored}" in encryption_keys; a master with this configuration ends with encryption-finished in its log',
    )


def readable_rows(facts: Facts) -> Finding:
    unreadable = facts.rows if isinstance(facts.rows, Unknown) else facts.rows.unreadable
    if isinstance(unreadable, Unknown):
        return _after(unreadable)
    if unreadable:
        told = ", ".join(f"{count} of {table}" for table, count in sorted(unreadable.items()))
        return Finding(
            Verdict.WRONG,
            f"rows that can't be read with the keys of this configuration, or are damaged: {told}",
            "compare encryption_keys with the master's before anything is started: a master may delete what it can't read",
        )
    return Finding(Verdict.OK, "all rows can be read")


def domains(facts: Facts) -> Finding:
    if isinstance(facts.rows, Unknown):
        return _after(facts.rows)
    fresh = {domain.name for domain in facts.rows.domains if is_fresh(domain, now_ns=facts.now_ns)}
    if stale := sorted(facts.rows.used_domains - fresh):
        expired = {domain.name: domain.expire_time_ns for domain in facts.rows.domains}
        since = [
            f"{name} (for {_age((facts.now_ns - expired[name]) / SECOND_NS)})" if name in expired else name
            for name in stale
        ]
        return Finding(
            Verdict.WRONG,
            f"not fresh, though LRPs are in them: {_named(since)}; what is too much there is not removed",
            "see that whoever declares the domain does so (Cloud Controller's clock for cf-apps), and why it fails",
            since,
        )
    told = [
        domain.name
        if not facts.rows.are_expiries_known
        else f"{domain.name} "
        + (
            "for good"
            if domain.expire_time_ns == NEVER_NS
            else f"for {_age((domain.expire_time_ns - facts.now_ns) / SECOND_NS)}"
        )
        for domain in facts.rows.domains
        if domain.name in fresh
    ]
    if not told:
        return Finding(Verdict.OK, "there are none, nor LRPs in any")
    if not facts.rows.are_expiries_known:
        return Finding(
            Verdict.OK, f"fresh: {_named(told)}; for how long only the database says (-config FILE)"
        )
    return Finding(Verdict.OK, f"fresh: {_named(told)}", details=told)


def cells(facts: Facts) -> Finding:
    work = _work(facts)
    if isinstance(work, Finding):
        return work
    if work.missing_cells:
        return Finding(
            Verdict.WRONG,
            f"{len(work.missing_cells)} with instances on them do not announce themselves: {_named(sorted(work.missing_cells))}."
            f" The next pass makes {len(work.displaced)} of their instances suspect and has replacements placed",
            "see whether the machines and their reps run, and reach Locket",
            sorted(work.missing_cells),
        )
    return Finding(Verdict.OK, "all cells with instances on them announce themselves")


def suspects(facts: Facts) -> Finding:
    work = _work(facts)
    if isinstance(work, Finding):
        return work
    count = work.suspects_running + work.suspects_claimed
    if not count:
        return Finding(Verdict.OK, "there are none")
    back, gone = len(work.suspects_back), len(work.suspects_to_go)
    return Finding(
        Verdict.CAUTION,
        f"{count} instance{_s(count)} of cells that were missing. The next pass makes {back} whose cell is back ordinary again,"
        f" and removes {gone} that {'is' if gone == 1 else 'are'} replaced or not desired",
        "bring their cells back, or wait until the replacements run",
    )


def instances(facts: Facts) -> Finding:
    """Instances that are not as desired, by what the next convergence pass does about them."""
    work = _work(facts)
    if isinstance(work, Finding):
        return work
    kinds: tuple[tuple[Sequence[ActualLRPKey], str], ...] = (
        (work.missing, "missing, and will be made and placed"),
        (work.stale, "unclaimed for over 30 s, and will be put up for auction again"),
        (work.restartable, "crashed long enough ago, and will be started again"),
        (work.extra, "beyond what is desired, and will be stopped"),
        (work.orphans, "desired by nobody, and will be stopped"),
        (work.routes_changed, "with old routes, and will be given the new ones"),
        (work.tags_changed, "with old metric tags, and will be given the new ones"),
    )
    told = [f"{len(keys)} {what} ({_named(list(map(_key, keys)))})" for keys, what in kinds if keys]
    details = [f"{_key(key)}: {what}" for keys, what in kinds for key in keys]
    pruned = 0 if isinstance(facts.rows, Unknown) else facts.rows.evacuating_to_prune
    if pruned:
        told.append(f"{pruned} evacuating from cells that are gone, and will be removed")
    if work.oversized:
        told.append(f"processes with more instances desired than may be: {_named(work.oversized)}")
    if told:
        return Finding(
            Verdict.CAUTION,
            "; ".join(told),
            "nothing, if fewer are told a minute from now; else ask the auctioneer's log why it does not place them",
            details,
        )
    return Finding(Verdict.OK, "all are as desired")


def auctioneer(facts: Facts) -> Finding:
    if isinstance(facts.auctioneer, Unknown):
        return _unknown(
            facts.auctioneer,
            "see that it runs at auctioneer_address, and that auctioneer_ca_cert is its CA; nothing new is placed without it",
        )
    return Finding(Verdict.OK, "takes connections")


CHECKS: Final = (
    Check("configuration", configuration),
    Check("certificates", certificates),
    Check("locket", locket),
    Check("master", master),
    Check("process", process),
    Check("requests", requests),
    Check("standby-lag", standby_lag),
    Check("database", database),
    Check("schema", schema),
    Check("encryption-key", encryption_key),
    Check("readable-rows", readable_rows),
    Check("domains", domains),
    Check("cells", cells),
    Check("suspects", suspects),
    Check("instances", instances),
    Check("subscribers", subscribers),
    Check("auctioneer", auctioneer),
)


def _unknown(fact: Unknown, remedy: str) -> Finding:
    return Finding(Verdict.WRONG, fact.why, remedy) if fact.is_asked else Finding(Verdict.SKIPPED, fact.why)


def _database_says(facts: Facts) -> DatabaseSays | Finding:
    says = facts.database
    if isinstance(says, Unknown):
        return _after(replace(says, see="database") if says.is_asked else says)
    return says


def _work(facts: Facts) -> LRPSets | Finding:
    if isinstance(facts.rows, Unknown):
        return _after(facts.rows)
    if isinstance(facts.rows.work, Unknown):
        return _after(facts.rows.work)
    return facts.rows.work


def _after(fact: Unknown) -> Finding:
    """What depends on something that failed is told of once, there."""
    return Finding(
        Verdict.SKIPPED, f"not known: {fact.why} (see the check `{fact.see}`)" if fact.see else fact.why
    )


def _moment(unix_ns: int) -> datetime:
    return datetime.fromtimestamp(unix_ns / SECOND_NS, UTC)


def _age(seconds: float) -> str:
    """In the two largest units that say something."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left, said = int(seconds), []
    for unit, length in units:
        count, left = divmod(left, length)
        if count:
            said.append(f"{count} {unit}")
    return " ".join(said[:2]) or "0 s"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _named(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    rest = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {rest} more" if rest > 0 else "")


def _key(key: ActualLRPKey) -> str:
    return f"{key.process_guid} {key.instance_index}"
