"""One tree of errors: what went wrong, where, and what to do next.

Every error carries a stable ``code``; the HTTP status, the exit code of the command line and the log field are looked
up from the one table at the end of this module.

    MainspringError
    ├── Invalid        the words or the data were wrong
    ├── NotFound       the named thing does not exist
    ├── Conflict       the thing exists, or changed under our hands
    ├── Denied         not allowed for this actor
    │   └── Unauthenticated    nobody is known by what was shown
    ├── Refused        the work said no
    │   ├── GateFailed     a gate did not pass
    │   └── CheckFailed    a data check did not pass
    ├── Unavailable    something outside is missing or unreachable
    │   ├── MissingExtra   an optional package is not installed
    │   └── Throttled      asked too often; later it may be answered
    └── Corrupt        stored bytes are not what was stored
"""

from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "OUTCOMES",
    "CheckFailed",
    "Conflict",
    "Corrupt",
    "Denied",
    "GateFailed",
    "Invalid",
    "MainspringError",
    "MissingExtra",
    "NotFound",
    "Outcome",
    "Refused",
    "Throttled",
    "Unauthenticated",
    "Unavailable",
    "nearest",
    "outcome_of",
]


class MainspringError(Exception):
    """Root of all errors that Mainspring raises on purpose.

    `what` says what happened with the values; `where` names the place (``rows[3].age``, ``flights.csv line 7``);
    `next_step` says what the reader can do.
    """

    code = "internal"

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(what)

    def __str__(self) -> str:
        place = f" (at {self.where})" if self.where else ""
        advice = f"\n  Next: {self.next_step}" if self.next_step else ""
        return f"{self.what}{place}{advice}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.next_step))


def _rebuild(kind: type[MainspringError], what: str, where: str, next_step: str) -> MainspringError:
    return kind(what, where=where, next_step=next_step)


class Invalid(MainspringError):
    """The words or the data handed in were wrong."""

    code = "invalid"


class NotFound(MainspringError):
    """The named thing does not exist."""

    code = "not_found"


class Conflict(MainspringError):
    """The thing exists already, or somebody else changed it first."""

    code = "conflict"


class Denied(MainspringError):
    """This actor may not do this."""

    code = "denied"


class Unauthenticated(Denied):
    """Nobody is known by what was shown, or nothing was shown."""

    code = "unauthenticated"


class Refused(MainspringError):
    """The work itself said no; nothing is broken."""

    code = "refused"


class GateFailed(Refused):
    """A gate between a candidate and production did not pass."""

    code = "gate_failed"


class CheckFailed(Refused):
    """A data check did not pass."""

    code = "check_failed"


class Unavailable(MainspringError):
    """Something outside this process is missing or unreachable."""

    code = "unavailable"


class MissingExtra(Unavailable):
    """An optional package is needed and not installed."""

    code = "missing_extra"

    @classmethod
    def of(cls, extra: str, package: str, purpose: str) -> "MissingExtra":
        """Name the exact command that installs what `purpose` needs."""
        return cls(
            f"{purpose} needs the package `{package}`, which is not installed",
            next_step=f"pip install 'mainspring[{extra}]'",
        )


class Throttled(Unavailable):
    """Asked too often; later it may be answered."""

    code = "throttled"


class Corrupt(MainspringError):
    """Stored bytes are not what was stored."""

    code = "corrupt"


class Outcome(NamedTuple):
    """How an error leaves the process: its HTTP status and its exit code."""

    http_status: int
    exit_code: int


#: The one table: error code -> HTTP status and exit code (0 well, 1 the work said no, 2 the words were wrong,
#: 3 something is missing or unreachable).
OUTCOMES: dict[str, Outcome] = {
    "internal": Outcome(500, 3),
    "invalid": Outcome(422, 2),
    "not_found": Outcome(404, 3),
    "conflict": Outcome(409, 1),
    "denied": Outcome(403, 1),
    "unauthenticated": Outcome(401, 1),
    "refused": Outcome(409, 1),
    "gate_failed": Outcome(409, 1),
    "check_failed": Outcome(422, 1),
    "unavailable": Outcome(503, 3),
    "missing_extra": Outcome(501, 3),
    "throttled": Outcome(429, 3),
    "corrupt": Outcome(500, 3),
}


def outcome_of(error: BaseException) -> Outcome:
    """Return the HTTP status and exit code of `error`; an unforeseen error counts as ``internal``."""
    return OUTCOMES[error.code if isinstance(error, MainspringError) else "internal"]


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """Return a hint with the names in `known` that look most like `name`, or all of them when none does.

    >>> nearest("carier", ["carrier", "origin"])
    'Did you mean `carrier`?'
    >>> nearest("x", ["carrier", "origin"])
    'Known: `carrier`, `origin`'
    """
    import difflib  # here, for most commands end well and every one imports this module

    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=most)
    if close:
        return "Did you mean " + " or ".join(f"`{each}`" for each in close) + "?"
    if not names:
        return "There are none yet"
    shown = ", ".join(f"`{each}`" for each in names[:12])
    return f"Known: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
