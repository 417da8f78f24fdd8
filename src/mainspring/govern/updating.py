"""Is a newer library harmless to a model? Its environment is built, upgraded, tested, trained in, and asked again.

The environment of the run that made the version is built as for `reproduce`. Logged requests are scored there by the
bundle that serves; then the distributions are upgraded, the tests run, the requests are scored once more, the model is
trained anew on the same data, and what that gives scores them too. Nothing is registered, and the environment that
stands is not touched.
"""

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.scratch import scratch_folder
from mainspring.data.table import Columns, connect, n_rows, quoted_text, typed_sql
from mainspring.domain.signature import Signature
from mainspring.domain.version import ModelVersion
from mainspring.errors import Invalid, Unavailable
from mainspring.evaluate.compare import Comparison, compare
from mainspring.evaluate.losses import loss
from mainspring.evaluate.measure import predict_labels
from mainspring.govern._clean_environment import build_environment, installed_in, upgrade
from mainspring.govern.reproduce import Reproduction, reproduce
from mainspring.pipeline.provenance import Provenance
from mainspring.predictions.log import features_of
from mainspring.store.protocol import Store
from mainspring.train.features import days_within, label_values

__all__ = ["Answers", "CommandRun", "Update", "update_dependencies"]

_SECONDS = 1800
#: Scores that are no further apart than this are the same but for the order of sums.
_SAME = 1e-9


class CommandRun(NamedTuple):
    """A command that was run in the upgraded environment: how it ended, and its last words."""

    command: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What a bundle answers to logged requests in the upgraded environment, beside what it answered before.

    `what` is ``the bundle that serves`` or ``the model trained anew``. `disagreement` is the share of other classes, of
    a classifier; `comparison` the paired one of losses, where labels have come; `cost` what a row takes, in multiples
    of before. `refused` says why there are no scores that can be compared, `speaks_against` whether the update is to
    blame for it.
    """

    what: str
    rows: int
    labelled: int = 0
    largest_difference: float | None = None
    disagreement: float | None = None
    comparison: Comparison | None = None
    cost: float | None = None
    refused: str = ""
    speaks_against: bool = False

    @property
    def is_worse(self) -> bool:
        """Whether labelled requests say that it is surely worse."""
        return self.comparison is not None and self.comparison.verdict == "worse"


@dataclass(frozen=True, slots=True)
class Update:
    """What an update of dependencies came to. `changed` has old and new versions by distribution; None is not there."""

    model_version: str
    changed: Mapping[str, tuple[str | None, str | None]]
    tests: CommandRun | None
    answers: tuple[Answers, ...]
    trained: Reproduction

    @property
    def objections(self) -> list[str]:
        """Why the update should not be made; empty where nothing speaks against it."""
        found = []
        if self.tests is not None and not self.tests.passed:
            found.append(f"`{self.tests.command}` failed")
        if self.trained.error:
            found.append(f"the pipeline does not run any more: {self.trained.error}")
        elif self.trained.level == "none":
            found.append("a model trained anew has metrics beyond the tolerance")
        found += [
            f"{each.what} is worse on labelled requests: {each.comparison}" for each in self.answers if each.is_worse
        ]
        found += [f"{each.what} gives no answers: {each.refused}" for each in self.answers if each.speaks_against]
        return found


def update_dependencies(
    store: Store,
    artifacts: ArtifactStore,
    version: ModelVersion,
    wanted: Sequence[str],
    *,
    bundle: Path,
    signature: Signature,
    logged: Columns,
    test: str = "",
    tolerance: float = 0.02,
    say: Callable[[str], None] = lambda text: None,
) -> Update:
    """Try newer distributions on a version: `wanted` names them, ``name`` for the newest or ``name==1.2``.

    `bundle` is the one that serves, `logged` requests that are asked again, as `PredictionLog.recent` gives them.
    `test` is a command to run in the upgraded environment, in the present folder. `tolerance` is how far a metric of
    the model trained anew may be off, as a share.

    Raises:
        Invalid: nothing is named, `test` is no command, or the run cannot be made again (see `reproduce`).
        Unavailable: an environment cannot be built, or no versions go together.
    """
    if not wanted:
        raise Invalid("No distribution is named", next_step="mainspring deps update MODEL scikit-learn")
    if test:
        _words_of(test)
    with scratch_folder([Path(tempfile.gettempdir())]) as scratch:
        found: Any = version.evidence.get("loss", {})  # written by registry.submit
        trial = _Trial(bundle, signature, found.get("bound"), logged, scratch.resolve(), say)

        def prepare(folder: Path, provenance: Provenance, locks: Mapping[str, str]) -> tuple[Path, list[str]]:
            python, remarks = build_environment(folder, provenance, locks, say)
            trial.prepare(python, wanted, test, Path(provenance.folder))
            return python, remarks

        trained = reproduce(
            store,
            artifacts,
            version.reference,
            folder=trial.place,
            tolerance=tolerance,
            say=say,
            prepare=prepare,
            keep=trial.place / "bundle",
        )
        if not trained.error:
            trial.ask("the model trained anew", trial.place / "bundle")
        return Update(version.reference, trial.changed, trial.tests, tuple(trial.answers), trained)


class _Trial:
    """The environment before and after, and the requests that are asked in both."""

    def __init__(
        self,
        bundle: Path,
        signature: Signature,
        bound: float | None,
        logged: Columns,
        place: Path,
        say: Callable[[str], None],
    ) -> None:
        self.place, self.say = place, say
        self.changed: dict[str, tuple[str | None, str | None]] = {}
        self.tests: CommandRun | None = None
        self.answers: list[Answers] = []
        self._bundle, self._signature, self._bound, self._logged = bundle, signature, bound, logged
        self._python = Path()
        self._before: _Scored | None = None

    def prepare(self, python: Path, wanted: Sequence[str], test: str, project: Path) -> None:
        """Score the requests, upgrade, test, and score them again."""
        self._python = python
        columns = features_of(self._logged)
        if columns:
            _write(self.place / "rows.parquet", columns)
            self.say(f"{n_rows(self._logged):,} logged requests are asked as things are")
            self._before = self._score(self._bundle)
        before = installed_in(python)
        self.say(f"upgrading {', '.join(wanted)}")
        upgrade(python, wanted, project)
        after = installed_in(python)
        self.changed = {
            name: (before.get(name), after.get(name))
            for name in sorted(before | after)
            if before.get(name) != after.get(name)
        }
        if test:
            self.say(f"running `{test}`")
            self.tests = _tested(test, python)
        self.ask("the bundle that serves", self._bundle)

    def ask(self, what: str, bundle: Path) -> None:
        """Score the requests by a bundle in the environment as it is now, and compare with before."""
        if self._before is None:
            return
        self.say(f"{n_rows(self._logged):,} logged requests are asked again, of {what}")
        now = self._score(bundle)
        self.answers.append(self._compared(what, self._before, now, is_new=bundle != self._bundle))

    def _score(self, bundle: Path) -> "_Scored":
        orders, answer, scores = (self.place / name for name in ("orders.json", "answer.json", "scores.npy"))
        order = {
            "bundle": str(bundle),
            "rows": str(self.place / "rows.parquet"),
            "columns": list(self._signature.names),
            "scores": str(scores),
            "answer": str(answer),
        }
        orders.write_text(json.dumps(order))
        answer.unlink(missing_ok=True)
        done = subprocess.run(
            [str(self._python), "-m", "mainspring.govern._replayed", str(orders)],
            capture_output=True, text=True, timeout=_SECONDS, env=_variables(self._python),
        )  # fmt: skip
        if not answer.exists():
            said = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
            return _Scored(None, 0.0, said)
        told = json.loads(answer.read_text())
        if told["refused"]:
            return _Scored(None, 0.0, told["refused"])
        return _Scored(np.load(scores), told["ms_a_row"], "")

    def _compared(self, what: str, before: "_Scored", now: "_Scored", *, is_new: bool) -> Answers:
        rows = n_rows(self._logged)
        if now.scores is None:  # a bundle that serves may ask for its own version of the library
            return Answers(what, rows, refused=now.refused, speaks_against=is_new)
        if not np.isfinite(now.scores).all():
            was = before.scores is None or bool(np.isfinite(before.scores).all())
            return Answers(what, rows, refused="it gives scores that are not finite", speaks_against=is_new or was)
        if before.scores is None or not np.isfinite(before.scores).all():
            said = before.refused or "it gave scores that are not finite"
            return Answers(what, rows, refused=f"nothing to compare with: the bundle that serves, before: {said}")
        known = np.array([label is not None for label in self._logged["label"]], dtype=np.bool_)
        disagreement = None
        if self._signature.task != "regression":
            disagreement = float((predict_labels(now.scores) != predict_labels(before.scores)).mean())
        apart = float(np.max(np.abs(now.scores - before.scores)))
        comparison = None
        if known.sum() > 1 and apart > _SAME:
            truth = label_values(self._logged["label"][known], self._signature)
            first, second = (
                loss(self._signature.task, truth, each[known], bound=self._bound)
                for each in (before.scores, now.scores)
            )
            comparison = compare(first, second, groups=days_within({"at": self._logged["at"][known]}))
        cost = now.ms_a_row / before.ms_a_row if before.ms_a_row else None
        return Answers(what, rows, int(known.sum()), apart, disagreement, comparison, cost)


class _Scored(NamedTuple):
    """Scores of all requests, None where the bundle did not load; what a single row costs; why it did not load."""

    scores: NDArray[np.float64] | None
    ms_a_row: float
    refused: str


def _words_of(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        what = f"`{command}` is no command: {error}"
        raise Invalid(what, where="--test", next_step="close what is open, or put it into a script") from error
    if not words:
        raise Invalid("The command of the tests is empty", where="--test", next_step="give one, such as: pytest -q")
    return words


def _tested(command: str, python: Path) -> CommandRun:
    words = _words_of(command)
    if words[0] in ("python", "python3"):
        words[0] = str(python)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, env=_variables(python))
    except FileNotFoundError as error:
        raise Unavailable(
            f"The tests cannot be run: {error.strerror}: {words[0]}",
            next_step=f"name what brings it among the distributions, such as: deps update MODEL {words[0]}",
        ) from error
    except subprocess.TimeoutExpired:
        return CommandRun(command, False, f"it did not end within {_SECONDS} s")
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return CommandRun(command, done.returncode == 0, "\n".join(said[-6:]))


def _variables(python: Path) -> dict[str, str]:
    left_out = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _write(path: Path, columns: Columns) -> None:
    with connect() as connection:
        connection.register("logged", columns)
        connection.execute(
            f"COPY (SELECT {typed_sql(columns)} FROM logged) TO {quoted_text(str(path))} (FORMAT parquet)"
        ).fetchall()
