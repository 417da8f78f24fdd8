"""Silences: for a while nobody is told of some incidents. They are opened, recorded and acted on all the same.

Each has an author, a reason and an end; none is for ever, so that what was quietened for an evening is not forgotten
for a year. Owner of the table `silences`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict, Invalid, NotFound, nearest
from mainspring.registry.models import list_models
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction, Value

__all__ = ["Silence", "end_silence", "is_silenced", "list_silences", "start_silence"]

_LONGEST = timedelta(days=90)
# of an alert's job or model, which need be no model of ours
_OF_INCIDENTS = "SELECT DISTINCT model FROM incidents"
_COLUMNS = "silence_id, pattern, author, reason, starts_at, ends_at"


@dataclass(frozen=True, slots=True)
class Silence:
    """`pattern` matches ``MODEL/VERSION/RULE`` with ``*`` and ``?``; it holds from `starts_at` until `ends_at`."""

    silence_id: str
    pattern: str
    author: str
    reason: str
    starts_at: str
    ends_at: str

    def covers(self, dedup_key: str, at: str) -> bool:
        """Whether nobody is told of an incident of this key at that moment."""
        return self.starts_at <= at < self.ends_at and fnmatchcase(dedup_key, self.pattern)


def start_silence(store: Store, pattern: str, *, lasts: timedelta, reason: str, author: str, at: datetime) -> Silence:
    """Tell nobody of incidents whose key matches; a model's bare name stands for all of its incidents.

    What is known to an Alertmanager alone, or will be made later, is silenced as ``NAME/*``.

    Raises:
        Invalid: there is no reason, it would last no time or more than 90 days, or the pattern is empty.
        NotFound: a bare name that no model has, and no incident.
    """
    if not pattern.strip("/ "):
        raise Invalid("There is nothing to silence", where="pattern", next_step="name a model, or MODEL/VERSION/RULE")
    if not reason.strip():
        raise Invalid("A silence needs a reason", where="reason", next_step='--reason "the feed is down until Monday"')
    if not timedelta(0) < lasts <= _LONGEST:
        raise Invalid(f"A silence of {lasts} is not possible", where="for", next_step="give up to 90d, such as 2h")
    whole = pattern if "/" in pattern else f"{_known(store, pattern)}/*"
    made = Silence(new_id(), whole, author, reason.strip(), to_iso(at), to_iso(at + lasts))

    def write(transaction: Transaction) -> None:
        row = (made.silence_id, made.pattern, made.author, made.reason, made.starts_at, made.ends_at)
        transaction.execute(f"INSERT INTO silences ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)

    details = {"reason": made.reason, "ends_at": made.ends_at, "pattern": whole}
    store.change(Event("silence.started", f"silences/{made.silence_id}", details, actor=author), write)
    return made


def _known(store: Store, name: str) -> str:
    """Return a model's name, or a pattern of names, as it is; who mistypes one would be told all the same."""
    if any(each in name for each in "*?["):
        return name
    known = {each.name for each in list_models(store)} | {row[0] for row in store.read(_OF_INCIDENTS)}
    if name not in known:
        raise NotFound(
            f"No model and no incident has the name `{name}`",
            where="pattern",
            next_step=f"{nearest(name, known)} To silence it all the same: '{name}/*'",
        )
    return name


def end_silence(store: Store, identifier: str, *, actor: str, at: datetime) -> Silence:
    """End a silence before its time; `identifier` is its id, or at least four digits of its start or end.

    Raises:
        NotFound: there is no such silence, or more than one.
        Conflict: it is over already.
    """
    known = list_silences(store)
    found = [
        each
        for each in known
        if len(identifier) >= 4 and (each.silence_id.startswith(identifier) or each.silence_id.endswith(identifier))
    ]
    if len(found) != 1:
        what = "More than one silence has" if found else "No silence has"
        raise NotFound(f"{what} the id `{identifier}`", next_step="list them: mainspring incidents silences --all")
    (silence,) = found
    if silence.ends_at <= to_iso(at):
        raise Conflict("This silence is over already", next_step="mainspring incidents silences")
    subject = f"silences/{silence.silence_id}"
    store.change(
        Event("silence.ended", subject, {"pattern": silence.pattern}, actor=actor),
        lambda t: t.execute("UPDATE silences SET ends_at = ? WHERE silence_id = ?", (to_iso(at), silence.silence_id)),
    )
    return silence


def list_silences(store: Store, *, at: datetime | None = None) -> list[Silence]:
    """Return silences, newest first; with `at`, those that hold at that moment."""
    rows = store.read(f"SELECT {_COLUMNS} FROM silences ORDER BY starts_at DESC, silence_id DESC")
    found = [Silence(*row) for row in rows]
    return found if at is None else [each for each in found if each.starts_at <= to_iso(at) < each.ends_at]


def is_silenced(ask: Callable[[str, Sequence[Value]], list[Row]], dedup_key: str, at: str) -> bool:
    """Whether any silence covers an incident of this key at the moment `at`, ISO 8601; `ask` runs a query."""
    rows = ask(f"SELECT {_COLUMNS} FROM silences WHERE starts_at <= ? AND ends_at > ?", (at, at))
    return any(Silence(*row).covers(dedup_key, at) for row in rows)
