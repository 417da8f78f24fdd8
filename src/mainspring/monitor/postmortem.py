"""The draft of a post-mortem: what is recorded of an incident, as Markdown that people finish.

Pure: an `Incident` with its timeline goes in, text comes out. It claims nothing that is not recorded; what only people
can know (who was hurt, what to change) stands as a question.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mainspring.domain.incident import Incident, digest_of
from mainspring.domain.moments import from_iso

__all__ = ["draft_postmortem"]

#: What is left to people, in the order of the draft's last part.
_QUESTIONS = (
    "Who was hurt, and how much: which decisions were taken on wrong answers?",
    "What would have shown it sooner?",
    "What made it worse, and what was luck?",
)
_DIGITS_OF_A_DIGEST = 16
#: What acts within a line of Markdown; an underscore inside a word does not.
_ACTS = re.compile(r"[\\`*\[\]<&|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


class _Code(str):
    """A word of ours, without a backtick, that stands as code."""


def draft_postmortem(incident: Incident) -> str:
    """Return a post-mortem in Markdown: facts, diagnosis, timeline with digests of the evidence, open questions.

    Args:
        incident: as `find_incident` returns it, with its timeline.
    """
    parts = (_facts(incident), _diagnosis(incident.diagnosis), _timeline(incident), _questions())
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _facts(incident: Incident) -> Iterator[str]:
    version = incident.model if incident.version is None else f"{incident.model}/{incident.version}"
    yield f"# Post-mortem: {_line(incident.title)}"
    yield ""
    if incident.is_open:
        yield f"**A draft of an incident that is still {incident.status}.**"
        yield ""
    yield from _table(
        ("", ""),
        [
            ("incident", _Code(incident.incident_id)),
            ("model version", version),
            ("found by the rule", incident.rule),
            ("severity", incident.severity),
            ("owner", incident.owner or "nobody"),
            ("opened", incident.opened_at),
            *((f"{status} after", _time_to(incident, status)) for status in ("acknowledged", "mitigated", "resolved")),
        ],
    )


def _time_to(incident: Incident, status: str) -> str:
    """Return how long after the opening the incident first came to `status`."""
    moments = [entry.at for entry in incident.timeline if entry.what == status]
    return str(from_iso(moments[0]) - from_iso(incident.opened_at)) if moments else "never"


def _diagnosis(diagnosis: Mapping[str, Any]) -> Iterator[str]:  # Any: read back from JSON
    yield "## Diagnosis"
    yield ""
    if not diagnosis.get("suspect"):
        yield "None is recorded."
        return
    yield f"Suspect: **{diagnosis['suspect']}**. {_line(diagnosis.get('reason', ''))}."
    if diagnosis.get("first_bad_window"):
        yield f"First bad window: {diagnosis['first_bad_window']}."
    if shifted := diagnosis.get("shifted"):
        yield ""
        yield from _table(
            ("shifted input", "effect", "impact", "statistic"),
            [(row["column"], f"{row['effect']:.3f}", f"{row['impact']:.3f}", row["statistic"]) for row in shifted],
        )
    if slices := diagnosis.get("slices"):
        yield ""
        yield from _table(
            ("slice that got worse", "rows", "loss before", "loss then"),
            [(row["name"], row["rows"], f"{row['loss_before']:.4f}", f"{row['loss_now']:.4f}") for row in slices],
        )
    if changes := diagnosis.get("changed_before"):
        yield ""
        rows = [(row["at"], row["kind"], row["what"]) for row in changes]
        yield from _table(("changed just before", "kind", "what"), rows)
    if also := diagnosis.get("also"):
        yield ""
        yield from (f"- Also: {_line(each)}" for each in also)


def _timeline(incident: Incident) -> Iterator[str]:
    yield "## Timeline"
    yield ""
    yield from _table(
        ("at", "who", "what", "", "SHA-256 of the evidence"),
        [
            (
                entry.at,
                entry.actor,
                entry.what,
                entry.text,
                _Code(digest_of(entry.evidence)[:_DIGITS_OF_A_DIGEST]) if entry.evidence else "",
            )
            for entry in incident.timeline
        ],
    )


def _questions() -> Iterator[str]:
    yield "## To be answered by people"
    for question in _QUESTIONS:
        yield from ("", f"**{question}**", "", "...")
    yield from ("", "**What changes now, by whom and when?**", "", "- [ ] ...")


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(_line(cell) for cell in row)} |"


def _line(text: object) -> str:
    """Return text on one line that reads as it was written: others wrote it, so none of it may act as Markdown."""
    if isinstance(text, _Code):
        return f"`{text}`"
    return _ACTS.sub(r"\\\g<0>", " ".join(str(text).split()))
