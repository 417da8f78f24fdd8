"""`Loop`: one model's whole life as one definition, and the two ways to set it going.

`run` trains once and takes the candidate as far as its gates and approvals let it. `tick` looks at production and does
what `policies` says. Everything is a state change in the store, so a loop that is killed goes on at the next tick
where it stopped, and two of them cannot do the same thing twice.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mainspring.domain.metric import parse_goal
from mainspring.domain.policy import (
    Approval,
    Canary,
    Gate,
    Monitor,
    Retrain,
    Soak,
    automatic,
    beats_champion,
    canary,
    monitor,
    replay,
    retrain,
)
from mainspring.domain.version import GateResult, ModelVersion, check_served_name
from mainspring.errors import Conflict, Invalid
from mainspring.loop.inputs import keep_inputs, obey_terms
from mainspring.loop.policies import POLICIES, Action, Situation, roll_out
from mainspring.pipeline._surroundings import surroundings
from mainspring.registry.gates import GateContext
from mainspring.registry.submit import submit
from mainspring.registry.versions import find_champion, find_version
from mainspring.tracking.runs import finish_run, start_run

if TYPE_CHECKING:
    from mainspring.pipeline.outcome import RunOutcome
    from mainspring.pipeline.step import Pipeline
    from mainspring.train.candidate import Candidate
    from mainspring.workspace import Workspace

__all__ = ["Loop", "LoopRun"]


class LoopRun(NamedTuple):
    """What one training run came to: its run, the version it made, and what the gates said."""

    outcome: "RunOutcome[Candidate]"
    version: ModelVersion
    gates: list[GateResult]


@dataclass(frozen=True)
class Loop:
    """One model's whole life as one definition.

    Give either `train`, a pipeline that returns a `Candidate`, or `data` and `target` for the default pipeline. A
    training pipeline that has a parameter `until` is told the moment of each run and must read nothing newer; one
    that has a parameter `labelled` gets a file of production rows whose labels have come. `purpose` is what the model
    is for; data whose terms do not allow it is refused.

    Raises:
        Invalid: neither or both ways to train are given, or the goal cannot be read.
    """

    name: str
    _: KW_ONLY
    train: "Pipeline[..., Candidate] | None" = None
    data: Path | str | None = None
    target: str = ""
    time: str = ""
    slices: Sequence[str] = ()
    goal: str = ""
    gates: Sequence[Gate | Callable[..., GateResult]] = field(default=(beats_champion(), replay()))
    approve: Approval = automatic
    rollout: Canary = field(default=canary(5, 25, 100))
    soak: Soak | None = None
    monitor: Monitor = field(default=monitor())
    retrain: Retrain = field(default=retrain())
    purpose: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        check_served_name(self.name)
        where = f"Loop({self.name!r})"
        if (self.train is None) == (self.data is None):
            raise Invalid(
                "A loop needs one way to train", where=where, next_step="give train=..., or data= and target="
            )
        if self.data is not None and not self.target:
            raise Invalid("The target is not named", where=where, next_step='give target="column"')
        if self.goal:
            parse_goal(self.goal)

    @property
    def purposes(self) -> tuple[str, ...]:
        """What the loop's model is for, to be held against the terms of the data."""
        return (self.purpose,) if isinstance(self.purpose, str) else tuple(self.purpose)

    @property
    def pipeline(self) -> "Pipeline[..., Candidate]":
        """The pipeline that trains: the user's own, or the default one built of the same steps."""
        if self.train is not None:
            return self.train
        from mainspring.train.default import default_pipeline

        return default_pipeline

    def run(self, workspace: "Workspace", *, author: str = "", **parameters: Any) -> LoopRun:
        """Train once, put the candidate through its gates, register it, and roll it out as far as approvals allow.

        `parameters` are those of the pipeline. Raises what the pipeline raises.
        """
        given = self.arguments(workspace, parameters)
        obey_terms(workspace, given, self.purposes)
        outcome = self.pipeline.run(workspace.pipeline_context, **given)
        data = keep_inputs(workspace, self.name, given)
        version, gates = self.submit(workspace, outcome.value, run_id=outcome.run_id, author=author, data=data)
        self.start_waiting(workspace)
        return LoopRun(outcome, find_version(workspace.store, version.reference), gates)

    def submit(
        self,
        workspace: "Workspace",
        candidate: "Candidate",
        *,
        run_id: str | None = None,
        author: str = "",
        data: Mapping[str, str] | None = None,
    ) -> tuple[ModelVersion, list[GateResult]]:
        """Pack a candidate, register it and put it through the gates; it serves only when `tick` finds it may.

        `data` names the dataset versions it was made of, by parameter.
        """
        if run_id is None:
            run_id = self._run_by_hand(workspace)
        champion = find_champion(workspace.store, self.name)
        context = GateContext(
            candidate=candidate,
            goal=self.goal,
            champion=None if champion is None else workspace.predictor(champion),
            traffic=lambda rows: workspace.log.recent(self.name, until=workspace.clock.now(), most=rows),
        )
        workspace.seal()
        return submit(
            workspace.store,
            workspace.artifacts,
            context,
            model=self.name,
            gates=self.gates,
            run_id=run_id,
            author=author or workspace.actor,
            at=workspace.clock.now(),
            load=workspace.predictor,
            data=data,
            approval=self.approve,
        )

    def tick(self, workspace: "Workspace") -> list[Action]:
        """Look at production once and do everything that follows; return what was done.

        Raises:
            Conflict: another loop of this workspace is at it.
        """
        with _only_loop(workspace.home):
            workspace.seal()
            done: list[Action] = []
            for policy in POLICIES:
                situation = Situation(self, workspace, workspace.clock.now())
                done += [Action(policy.name, text) for text in policy.act(situation)]
            self._publish(workspace)
            return done

    def _run_by_hand(self, workspace: "Workspace") -> str:
        """Record a candidate that no pipeline made as a run of its own, with the code's commit and who did it."""
        now = workspace.clock.now()
        tags = {"submitted": "by hand", **surroundings(Path.cwd())}
        run_id = start_run(workspace.store, experiment=self.name, name="by hand", parameters={}, at=now, tags=tags)
        finish_run(workspace.store, run_id, "finished", now)
        return run_id

    def start_waiting(self, workspace: "Workspace") -> list[Action]:
        """Let a version that has just got its approvals serve now, without waiting for the next tick."""
        with _only_loop(workspace.home, waits=True):  # a look that is under way may be past this policy
            situation = Situation(self, workspace, workspace.clock.now())
            done = [Action("a version may serve", text) for text in roll_out(situation)]
            self._publish(workspace)
            return done

    def _publish(self, workspace: "Workspace") -> None:
        # written from what the database says, so a crash between a change and its publication heals at the next tick
        if find_champion(workspace.store, self.name) is not None:
            workspace.publish(self.name)

    def arguments(self, workspace: "Workspace", parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a run of the training pipeline is given: the definition's defaults, the moment, `parameters`."""
        given = {**self.defaults(), **parameters}
        if "until" in self.parameter_names():
            given.setdefault("until", workspace.clock.now())
        return given

    def parameter_names(self) -> set[str]:
        """Return the names of the training pipeline's parameters."""
        return {each.name for each in self.pipeline.parameters}

    def defaults(self) -> dict[str, object]:
        """Return the arguments that the definition itself gives to the default pipeline."""
        if self.train is not None:
            return {}
        return {
            "data": Path(self.data or ""),
            "target": self.target,
            "time": self.time,
            "slices": tuple(self.slices),
            "purpose": self.purposes,
        }


@contextlib.contextmanager
def _only_loop(home: Path, *, waits: bool = False) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "loop.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                "Another loop is at work in this workspace", where=str(home), next_step="let it finish, or stop it"
            ) from error
        yield
