"""What a run would do, before anything runs: which steps would be found, which would run, and because of what.

The pipeline body runs, its steps do not, and nothing is written. A step whose input is made by a step that will run is
planned on the guess that this input comes out as it did before: if then nothing else differs, it runs only if its
input changes. A body that asks for a value that is not known yet ends the plan there: the rest is decided at run time.
"""

import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mainspring.domain.ids import Digest, RunId
from mainspring.errors import Invalid, MainspringError
from mainspring.pipeline._origin import origin_of_file
from mainspring.pipeline._reasons import FIRST_RUN, Change, differences, said, with_lines
from mainspring.pipeline.documents import Stored, classes_in, objects_in, packages_in, part_of
from mainspring.pipeline.fingerprint import ArgumentPart, Fingerprint, fingerprint
from mainspring.pipeline.graph import Call, Graph, recording
from mainspring.pipeline.lazy import Lazy, Reference, with_lazies
from mainspring.pipeline.ledger import Former, Ledger, Result
from mainspring.pipeline.reads import StampCache, first_changed
from mainspring.pipeline.values import decode

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.step import Pipeline

__all__ = ["Plan", "PlannedStep", "Verdict", "plan_pipeline"]

Verdict = Literal["hit", "run", "maybe"]

IF_INPUT_CHANGES = "if its input changes (early cut-off possible)"
PICKLE_ASKED = "a result kept as a pickle, where nothing else can hold it (the step asks for it)"
NOT_KEPT = "its results are not kept"
_UNKNOWN = Digest("unknown")


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What a run would do with one step.

    `hit`: its result is found, from `from_run`. `run`: it runs because of `changes`, in words `reason`. `maybe`: it
    runs if its input changes. `opaque` names what the key does not cover. `always` marks a step that is never found.
    """

    number: int
    name: str
    where: str
    verdict: Verdict
    reason: str
    changes: tuple[Change, ...] = ()
    from_run: RunId | None = None
    opaque: tuple[str, ...] = ()
    always: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run. `undecided` says where the body needs a value that only a run can give; empty if nowhere."""

    pipeline: str
    steps: tuple[PlannedStep, ...]
    undecided: str = ""

    @property
    def is_current(self) -> bool:
        """Whether a run would find everything it keeps: what is left to run is never kept, or waits for such a step."""
        return not self.undecided and all(each.verdict != "run" or each.always for each in self.steps)


def plan_pipeline(
    pipeline: "Pipeline[..., Any]", context: "PipelineContext", args: Sequence[object], kwargs: Mapping[str, object]
) -> Plan:
    """Plan a run of `pipeline`; see `Pipeline.plan`."""
    try:
        bound = pipeline.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise Invalid(
            f"The arguments do not fit `{pipeline.name}{pipeline.signature}`: {error}", where=pipeline.where
        ) from error
    bound.apply_defaults()
    with tempfile.TemporaryDirectory(prefix="mainspring-") as scratch:
        planner = _Planner(context, Path(scratch))
        undecided = ""
        try:
            with recording(planner.graph):
                pipeline.function(*bound.args, **bound.kwargs)
        except _Undecided as news:
            undecided = f"decided at run time: {_place(news)} needs the result of `{news.step_name}`"
        except MainspringError:
            raise
        except Exception as error:  # the author's own code: told with its place, as a run would tell it
            what = "".join(traceback.format_exception_only(error)).strip()
            raise Invalid(
                f"The body of `{pipeline.name}` failed: {what}",
                where=_place(error) or pipeline.where,
                next_step="a run would fail at the same place: fix it first",
            ) from error
        return Plan(pipeline.name, planner.steps(), undecided)


class _Undecided(BaseException):
    """The body needs a value that is not known before a run. No `Exception`, so that no body swallows it."""

    def __init__(self, step_name: str) -> None:
        self.step_name = step_name


@dataclass(slots=True)
class _Expectation:
    """What is known of a call: its row of the plan, its value if that is certain, and its value if that is a guess."""

    row: PlannedStep
    known: Stored | None = None
    guess: Stored | None = None


class _Planner:
    """Plans the calls of one body, each when it is asked for or at the end."""

    def __init__(self, context: "PipelineContext", scratch: Path) -> None:
        self.graph = Graph(self._resolve)
        self._context = context
        self._scratch = scratch
        self._ledger = Ledger(context.store, context.artifacts)
        self._stamps = StampCache(self._ledger.stamp_of, time.time_ns)
        self._expected: dict[int, _Expectation] = {}

    def steps(self) -> tuple[PlannedStep, ...]:
        """Return the rows of all calls, in their order."""
        return tuple(self._expect(call.index).row for call in self.graph.calls)

    def _resolve(self, number: int) -> object:
        found = self._expect(number)
        if found.known is None:
            raise _Undecided(self.graph.calls[number].step.name)
        return decode(found.known, self._context.artifacts, self._new_folder)

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._scratch))

    def _expect(self, number: int) -> _Expectation:
        if number not in self._expected:
            call = self.graph.calls[number]
            for needed in call.needs:
                self._expect(needed)
            self._expected[number] = self._plan(call)
        return self._expected[number]

    def _plan(self, call: Call) -> _Expectation:
        if not call.step.options.cache:
            return _Expectation(_row(call, "run", NOT_KEPT, always=True))
        held: list[ArgumentPart] = []
        arguments = {
            name: with_lazies(value, lambda lazy: self._part_for(lazy, held)) for name, value in call.arguments.items()
        }
        key = fingerprint(call.step.function, arguments, self._stamps, held=held, step_name=call.step.name)
        is_certain = all(self._expected[each].known is not None for each in call.needs)
        reads_changed: tuple[Change, Result] | None = None
        for result in self._ledger.results_for(key.key):
            changed = self._changed_read(result)
            if changed is None and self._is_whole(result):
                return _found(call, key, result, is_certain)
            if changed is not None and reads_changed is None:
                reads_changed = (changed, result)
        if reads_changed is not None:
            change, result = reads_changed
            return _Expectation(_row(call, "run", str(change), key, (change,)), guess=result.stored)
        return self._changed(call, key, self._unknown_arguments(call))

    def _changed(self, call: Call, key: Fingerprint, unknown: frozenset[str]) -> _Expectation:
        """Plan a call of which no kept result fits, by its nearest former one; `unknown` are arguments only guessed."""
        formers = self._ledger.formers(call.step.name)
        if not formers:
            return _Expectation(_row(call, "run", FIRST_RUN, key))
        compared = [(_certain(differences(key.parts, each.parts), unknown), each) for each in formers]
        changes, former = min(compared, key=lambda pair: len(pair[0]))
        guess = next((each.stored for each in self._ledger.results_for(former.key) if self._is_whole(each)), None)
        if not changes and unknown:
            return _Expectation(_row(call, "maybe", IF_INPUT_CHANGES, key), guess=guess)
        shown = tuple(self._shown(each, key, former) for each in changes)
        reason = said(shown) if shown or former.key != key.key else "the kept result is gone from the artifact store"
        return _Expectation(_row(call, "run", reason, key, shown), guess=guess)

    def _shown(self, change: Change, key: Fingerprint, former: Former) -> Change:
        return with_lines(change, key.parts, former.parts, key.spans, self._ledger.code_of)

    def _part_for(self, lazy: Lazy, held: list[ArgumentPart]) -> ArgumentPart:
        reference = Reference.of(lazy)
        expected = self._expected[reference.call]
        stored = expected.known or expected.guess
        if stored is None:
            return ArgumentPart(_UNKNOWN)
        document = part_of(stored.document, reference.path)
        part = ArgumentPart(Stored(document).digest, classes_in(document), packages_in(document))
        held.append(part)
        return part

    def _unknown_arguments(self, call: Call) -> frozenset[str]:
        unknown = set()
        for name, value in call.arguments.items():

            def note(lazy: Lazy, name: str = name) -> Lazy:
                if self._expected[Reference.of(lazy).call].known is None:
                    unknown.add(name)
                return lazy

            with_lazies(value, note)
        return frozenset(unknown)

    def _changed_read(self, result: Result) -> Change | None:
        changed = first_changed(result.reads, self._stamps)
        return None if changed is None else Change(changed.kind, changed.path, "changed")

    def _is_whole(self, result: Result) -> bool:
        return all(self._context.artifacts.exists(each) for each in objects_in(result.stored.document))


def _found(call: Call, key: Fingerprint, result: Result, is_certain: bool) -> _Expectation:
    opaque = tuple(dict.fromkeys((*key.opaque, *result.opaque)))
    if is_certain:
        row = _row(call, "hit", f"hit from run {result.run_id}", key, from_run=result.run_id, opaque=opaque)
        return _Expectation(row, known=result.stored)
    row = _row(call, "maybe", IF_INPUT_CHANGES, key, from_run=result.run_id, opaque=opaque)
    return _Expectation(row, guess=result.stored)


def _certain(changes: list[Change], unknown: frozenset[str]) -> list[Change]:
    """Leave out what follows from a guess: another argument, and the classes and packages that come with it."""
    if not unknown:
        return changes
    return [
        each
        for each in changes
        if not (each.kind == "argument" and each.name in unknown)
        and not (each.what == "gone" and each.kind != "argument")
    ]


def _row(
    call: Call,
    verdict: Verdict,
    reason: str,
    key: Fingerprint | None = None,
    changes: tuple[Change, ...] = (),
    *,
    from_run: RunId | None = None,
    opaque: tuple[str, ...] | None = None,
    always: bool = False,
) -> PlannedStep:
    unseen = opaque if opaque is not None else key.opaque if key is not None else ()
    if call.step.options.pickle and PICKLE_ASKED not in unseen:
        unseen = (*unseen, PICKLE_ASKED)
    return PlannedStep(call.index, call.step.name, call.step.where, verdict, reason, changes, from_run, unseen, always)


def _place(error: BaseException) -> str:
    """Return the innermost line of the project's own code that an error went through."""
    places = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if origin_of_file(frame.filename) == "project" and not frame.filename.startswith("<")
    ]
    return places[-1] if places else ""
