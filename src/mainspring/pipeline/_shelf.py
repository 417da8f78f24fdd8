"""The values of a run: what each call came to, at rest and, while somebody may still need it, at hand.

A value is loaded when a step in this process or the pipeline body really needs it; everything else works with its
document. Whoever gets a value gets a copy of its own.
"""

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.errors import Corrupt, MainspringError, NotFound
from mainspring.pipeline.documents import Document, Stored, holds_files, part_of
from mainspring.pipeline.graph import Call
from mainspring.pipeline.lazy import Lazy, PathItem, Reference, project, with_lazies
from mainspring.pipeline.values import decode

__all__ = ["UNSET", "Shelf"]

#: No value at hand.
UNSET = object()


@dataclass(slots=True)
class _State:
    """What became of a call. `result_id` is set when it was found, not made."""

    stored: Stored | None
    value: object
    result_id: str


class Shelf:
    """The values of one run. `make_anew` makes a call again whose kept result turned out damaged or gone."""

    def __init__(self, artifacts: ArtifactStore, make_anew: Callable[[int, str, MainspringError], None]) -> None:
        self._artifacts = artifacts
        self._make_anew = make_anew
        self._states: dict[int, _State] = {}
        self._waiting: Counter[int] = Counter()  # how many calls still need a value
        self._scratch: Path | None = None

    @property
    def made(self) -> "dict[int, _State]":
        """The calls that are made, by their number."""
        return self._states

    def put(self, number: int, stored: Stored | None, *, value: object = UNSET, result_id: str = "") -> None:
        """Take note of what a call came to."""
        # A result that is a file must be read from where it was kept: the original may be changed by the next step.
        is_file = stored is not None and value is not UNSET and holds_files(stored.document)
        self._states[number] = _State(stored, UNSET if is_file else value, result_id)

    def stored_of(self, number: int) -> Stored | None:
        """Return the value of a call at rest; None where it is only at hand."""
        return self._states[number].stored

    def document_of(self, lazy: Lazy) -> Document | None:
        """Return the document of what a lazy value stands for; None where it is not kept."""
        reference = Reference.of(lazy)
        stored = self._states[reference.call].stored
        return None if stored is None else part_of(stored.document, reference.path)

    def value_of(self, lazy: Lazy) -> object:
        """Return a copy of the value a lazy one stands for; its call has been made."""
        reference = Reference.of(lazy)
        return self.load(reference.call, reference.path, reference)

    def load(self, number: int, path: tuple[PathItem, ...] = (), reference: Reference | None = None) -> object:
        """Return a copy of the part of a call's value that `path` leads to."""
        state = self._states[number]
        if state.value is not UNSET:
            value = state.value if reference is None else project(state.value, reference)
            return with_lazies(value, lambda lazy: lazy)
        assert state.stored is not None, "a result that is not kept stays at hand"
        try:
            return decode(Stored(part_of(state.stored.document, path)), self._artifacts, self._new_scratch)
        except (Corrupt, NotFound) as error:
            self._replace(number, error)
            return self.load(number, path, reference)

    def expect(self, calls: Iterable[Call]) -> None:
        """Take note of which values these calls will need."""
        for call in calls:
            self._waiting.update(call.needs)

    def let_go(self, call: Call) -> None:
        """Drop the values that no call waits for after `call`; what is needed after all is loaded again."""
        self._waiting.subtract(call.needs)
        for number in (*call.needs, call.index):
            state = self._states.get(number)
            if state is not None and state.stored is not None and self._waiting[number] <= 0:
                state.value = UNSET

    def _replace(self, number: int, error: MainspringError) -> None:
        state = self._states.pop(number)
        if not state.result_id:
            raise error
        self._make_anew(number, state.result_id, error)
        made = self._states[number].stored
        if state.stored is None or made is None or made.digest != state.stored.digest:
            # Calls may have been found by the old content already: this run cannot be made whole, the next one can.
            error.next_step = "run the same command again: a step was made anew and came out differently"
            raise error

    def _new_scratch(self) -> Path:
        """Return a new empty folder that lives as long as the run's outcome."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="mainspring-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self._scratch))
