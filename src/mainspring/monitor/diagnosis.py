"""What is the likely cause of an incident? Rules over facts: drift, quality, service, recent changes, slices.

The rules are a table, tried from the cause that would explain everything else to the one that is left when nothing
else does: a broken service, broken data, changed code, and only then a model that the world has moved away from. The
order matters for what follows: retraining on broken data would teach the model the bug.
Pure: facts come in as values and a `Diagnosis` goes out; gathering facts and acting are other people's work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from mainspring.evaluate.slices import Slice
from mainspring.monitor.drift import ColumnDrift
from mainspring.monitor.joint import JointDrift

__all__ = [
    "Change",
    "Diagnosis",
    "Facts",
    "ServiceFacts",
    "ShiftedColumn",
    "SliceChange",
    "Suspect",
    "diagnose",
    "slice_changes",
]

Suspect = Literal["data", "code", "model", "infrastructure"]
ChangeKind = Literal["deployment", "code", "package", "config", "data"]

#: Values that go missing in this many more of the rows, or were never seen before, are a fault of the data, which
#: forbids retraining. Gaps need more: a weather station that skips a tenth more of its hours is the world as it is,
#: and models learn from it; such lesser gaps are told beside the suspect.
_MISSING_JUMP = 0.20
_UNSEEN_JUMP = 0.05
_LESSER_GAP = 0.05
#: Any value of the wrong type is a fault of the sender; a hundredth keeps out single odd requests.
_MISTYPED = 0.01
#: Requests that fail beyond this share, or answers this many times slower than before, are infrastructure.
_ERROR_SHARE = 0.02
_SLOWER = 3.0
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was changed on purpose, before or in the bad windows. `at` is ISO text."""

    at: str
    kind: ChangeKind
    what: str


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """How the endpoint answered in the bad window and in the reference: shares of failed requests, p99 in ms."""

    error_share: float = 0.0
    error_share_before: float = 0.0
    p99_ms: float = 0.0
    p99_ms_before: float = 0.0


@dataclass(frozen=True, slots=True)
class ShiftedColumn:
    """A shifted input. `impact` is its effect times the model's importance for it (1 when importances are unknown)."""

    column: str
    impact: float
    effect: float
    statistic: str


@dataclass(frozen=True, slots=True)
class SliceChange:
    """A slice before and now: mean per-row losses, and by how much the slice lost more than before."""

    name: str
    rows: int
    loss_before: float
    loss_now: float

    @property
    def increase(self) -> float:
        """The rise of the slice's mean loss."""
        return self.loss_now - self.loss_before


@dataclass(frozen=True, slots=True)
class Facts:
    """All a diagnosis is made of. What is unknown stays empty, and the rules that need it stay silent.

    `joint` compares all columns together with the time before. `importances` are shares of the model's attention by
    column, any scale. `failed_checks` are sentences of data checks that did not pass. `changes` are only those of the
    last few windows, in any order; older ones are no suspects. `first_bad_window` names the window where the trouble
    began ("" when unknown).
    """

    drift: Sequence[ColumnDrift] = ()
    joint: JointDrift | None = None
    importances: Mapping[str, float] = field(default_factory=dict)
    failed_checks: Sequence[str] = ()
    service: ServiceFacts = field(default_factory=ServiceFacts)
    changes: Sequence[Change] = ()
    slices: Sequence[SliceChange] = ()
    first_bad_window: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The prime suspect and why, with the evidence beside it; `also` holds what the other rules said."""

    suspect: Suspect
    reason: str
    advice: str
    shifted: tuple[ShiftedColumn, ...] = ()
    slices: tuple[SliceChange, ...] = ()
    first_bad_window: str = ""
    changed_before: tuple[Change, ...] = ()
    also: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return asdict(self)

    def render(self) -> str:
        """Return a few lines of plain text for a terminal, a chat or a post-mortem."""
        lines = [f"Suspect: {self.suspect}. {self.reason}.", f"Next: {self.advice}."]
        if self.first_bad_window:
            lines.append(f"Since: {self.first_bad_window}")
        if self.shifted:
            lines.append("Shifted inputs: " + ", ".join(f"{each.column} ({each.effect:.0%})" for each in self.shifted))
        if self.slices:
            told = (f"{each.name} {each.loss_before:.3f} -> {each.loss_now:.3f}" for each in self.slices)
            lines.append("Worst slices: " + ", ".join(told))
        if self.changed_before:
            lines.append("Changed before: " + ", ".join(f"{each.at} {each.what}" for each in self.changed_before))
        lines += [f"Also: {each}" for each in self.also]
        return "\n".join(lines)


def diagnose(facts: Facts) -> Diagnosis:
    """Return the likeliest cause of an incident by the first rule that speaks; the rules after it are kept in `also`.

    >>> diagnose(Facts(failed_checks=["`temp` is missing in 40 % of the rows"])).suspect
    'data'
    """
    shifted = _by_impact(facts)
    said = [(suspect, reason, advice) for suspect, rule, advice in _RULES if (reason := rule(facts))]
    model_reason = _model(shifted, facts.joint)
    suspect, reason, advice = said[0] if said else ("model", model_reason, _MODEL_ADVICE)
    also = [f"{other} ({why})" for other, why, _ in said[1:]]
    if said and shifted:
        also.append(f"model ({model_reason})")
    also += _lesser_gaps(facts)
    worse = sorted((each for each in facts.slices if each.increase > 0), key=lambda each: -each.increase)
    return Diagnosis(
        suspect,
        reason,
        advice,
        tuple(shifted[:_MOST_SHOWN]),
        tuple(worse[:_MOST_SHOWN]),
        facts.first_bad_window,
        tuple(_changes_before(facts)),
        tuple(also),
    )


def slice_changes(reference: Sequence[Slice], live: Sequence[Slice]) -> list[SliceChange]:
    """Pair slices of the reference and of now by name, the largest rise of the loss first."""
    before = {each.name: each.loss_mean for each in reference}
    paired = [
        SliceChange(each.name, each.rows, before[each.name], each.loss_mean) for each in live if each.name in before
    ]
    return sorted(paired, key=lambda each: -each.increase)


def _infrastructure(facts: Facts) -> str:
    service = facts.service
    if service.error_share - service.error_share_before >= _ERROR_SHARE:
        return f"{service.error_share:.1%} of requests fail, before {service.error_share_before:.1%}"
    if service.p99_ms_before > 0 and service.p99_ms >= _SLOWER * service.p99_ms_before:
        return f"p99 is {service.p99_ms:.0f} ms, before {service.p99_ms_before:.0f} ms"
    return ""


def _data(facts: Facts) -> str:
    faults = list(facts.failed_checks)
    for row in facts.drift:
        for key, floor, told in (
            ("mistyped_share", _MISTYPED, "has values of the wrong type in {:.1%} of rows"),
            ("missing_change", _MISSING_JUMP, "is missing in {:.1%} more of the rows"),
            ("unseen_share", _UNSEEN_JUMP, "has never seen values in {:.1%} of rows"),
        ):
            if (share := row.details.get(key, 0.0)) >= floor:
                faults.append(f"`{row.column}` {told.format(share)}")
                break
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return "; ".join(faults[:3]) + more


def _lesser_gaps(facts: Facts) -> list[str]:
    changes = {row.column: row.details.get("missing_change", 0.0) for row in facts.drift}
    gaps = sorted((name for name, share in changes.items() if _LESSER_GAP <= share < _MISSING_JUMP))
    return [f"`{name}` is missing in {changes[name]:.1%} more of the rows" for name in gaps[:_MOST_SHOWN]]


def _code(facts: Facts) -> str:
    recent = [each for each in _changes_before(facts) if each.kind != "data"]
    if not recent:
        return ""
    last = recent[0]
    return f"{last.what} ({last.kind}) at {last.at} came just before"


def _model(shifted: Sequence[ShiftedColumn], joint: JointDrift | None) -> str:
    if not shifted and joint is not None and joint.is_shifted:
        return (
            "no input moved by itself, but together they are told apart from those before with an area under the curve"
            f" of {joint.area:.2f} [{joint.low:.2f}, {joint.high:.2f}] (joint covariate drift)"
        )
    if not shifted:
        return "no input moved, yet the loss rose: what the inputs mean for the target has changed (concept drift)"
    names = ", ".join(f"`{each.column}`" for each in shifted[:3])
    return f"the world moved away from the training data: {names} (covariate drift)"


_MODEL_ADVICE = "retrain on recent labelled rows and compare with the champion on the newest of them"

#: Who is suspected, the rule that gives a reason or nothing, and what to do; the first that speaks wins.
_RULES: tuple[tuple[Suspect, Callable[[Facts], str], str], ...] = (
    ("infrastructure", _infrastructure, "look at the endpoint first; predictions that failed say nothing of the model"),
    ("data", _data, "repair the source and do not retrain on these windows"),
    ("code", _code, "roll back that change and see whether the loss follows"),
)


def _by_impact(facts: Facts) -> list[ShiftedColumn]:
    known = facts.importances
    found = [
        ShiftedColumn(
            row.column, row.effect * (known.get(row.column, 0.0) if known else 1.0), row.effect, row.statistic
        )
        for row in facts.drift
        if row.is_shifted
    ]
    return sorted(found, key=lambda each: (-each.impact, -each.effect, each.column))


def _changes_before(facts: Facts) -> list[Change]:
    """Return the changes that could be the cause, newest first: what came after the trouble began did not cause it.

    Compared as ISO text; a window named by its day begins before every moment of that day, hence the prefix.
    """
    first = facts.first_bad_window
    eligible = [each for each in facts.changes if not first or each.at[: len(first)] <= first]
    return sorted(eligible, key=lambda each: each.at, reverse=True)
