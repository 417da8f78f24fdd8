"""Two runs of one pipeline side by side: which step came out otherwise first, because of what, and which figures moved.

Steps are compared by their place and name and by the digest of their output, so nothing is loaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mainspring.pipeline._reasons import differences, said
from mainspring.pipeline.documents import Document, summary_of
from mainspring.pipeline.ledger import Ledger, StepRow

__all__ = ["Divergence", "figures_of", "first_divergence", "is_same"]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first step that came out otherwise. `because` says what its result was made of in one run and not in the
    other; empty where that is the same, and the step itself does not repeat."""

    number: int
    name: str
    what: str
    because: str = ""


def is_same(old: StepRow, new: StepRow) -> bool:
    """Whether two rows are of the same step with the same output; one that is not kept is compared by its end only."""
    return (old.name, old.output_digest, old.status) == (new.name, new.output_digest, new.status)


def first_divergence(
    old: Sequence[StepRow], new: Sequence[StepRow], old_ledger: Ledger, new_ledger: Ledger
) -> Divergence | None:
    """Return the first step, in the order of the calls, that is not the same in both runs; None where all are."""
    then, now = {row.number: row for row in old}, {row.number: row for row in new}
    for number in sorted(then | now):
        before, after = then.get(number), now.get(number)
        if before is None or after is None:
            name = (before or after).name  # type: ignore[union-attr]  # one of them is there
            return Divergence(number, name, "was not called again" if after is None else "was not called then")
        if before.name != after.name:
            return Divergence(number, after.name, f"was called where `{before.name}` was called then")
        if not is_same(before, after):
            what = f"failed: {after.error}" if after.status == "failed" else "came out otherwise"
            return Divergence(number, after.name, what, _because(before, after, old_ledger, new_ledger))
    return None


def _because(before: StepRow, after: StepRow, old_ledger: Ledger, new_ledger: Ledger) -> str:
    old, new = old_ledger.result_of(before), new_ledger.result_of(after)
    if old is None or new is None:
        return ""
    changes = differences(new.parts, old.parts)
    if changes:
        return said(changes)
    then, now = {each.path: each.digest for each in old.reads}, {each.path: each.digest for each in new.reads}
    read = [path for path, digest in now.items() if path in then and then[path] != digest]
    return f"what it read of `{read[0]}` changed" if read else ""


def figures_of(rows: Sequence[StepRow], ledger: Ledger) -> dict[str, float]:
    """Return the numbers in the results of the steps whose results no other step takes, by name and path."""
    needed = {number for row in rows for number in row.needs}
    found: dict[str, float] = {}
    for row in rows:
        result = ledger.result_of(row) if row.number not in needed else None
        if result is not None:
            found |= dict(_numbers(summary_of(result.stored.document), row.name))
    return found


def _numbers(value: Document, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield path, float(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _numbers(each, f"{path}.{key}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _numbers(each, f"{path}[{number}]")
