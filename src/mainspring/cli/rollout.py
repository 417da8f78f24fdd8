"""`mainspring rollout`: a share of the traffic, a shadow, and what an A/B test says, by hand."""

import click

from mainspring.cli.listed import ListedByDefault
from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.deploy.by_hand import active_shadows, set_share, start_shadow, stop_rollouts
from mainspring.deploy.rollout import active_canary, list_deployments, start_canary
from mainspring.domain.deployment import Deployment
from mainspring.domain.moments import from_iso, parse_duration
from mainspring.domain.policy import Canary
from mainspring.domain.version import ModelVersion, parse_model
from mainspring.errors import Denied, GateFailed, Invalid, NotFound
from mainspring.registry.control import ask_rules, refuse
from mainspring.registry.versions import find_champion, find_version, list_versions
from mainspring.workspace import Workspace

__all__ = ["rollout_command"]

_percent = click.option(
    "--percent", required=True, type=click.FloatRange(0, 100), help="Share of the requests, in percent."
)
_reason = click.option("--reason", default="", help="Why; kept in the audit log.")


@click.group("rollout", cls=ListedByDefault)
def rollout_command() -> None:
    """Give a version a share of the traffic, or let it shadow the answers, and see what comes of it.

    \b
    Example:
      mainspring rollout start late-flights/3 --percent 10
      mainspring rollout show late-flights
      mainspring rollout stop late-flights
    """


@rollout_command.command("start")
@click.argument("reference")
@_percent
@click.option("--shadow", is_flag=True, help="Compute the share once more, log it, and answer nobody with it.")
@_reason
@click.option("--override", is_flag=True, help="Give traffic to a version that its gates refused; audited.")
def start_command(reference: str, percent: float, shadow: bool, reason: str, override: bool) -> None:
    """Start a canary, or with --shadow a shadow. The same key (`x-route-key`) always gets the same version.

    A loop that watches the model goes on judging a canary: it widens it by its policy, or rolls it back.

    \b
    Example:
      mainspring rollout start late-flights/3 --percent 50 --reason "A/B test of the new features"
      mainspring rollout start late-flights/4 --percent 100 --shadow
    """
    with Workspace() as workspace:
        store, at = workspace.store, workspace.clock.now()
        version = find_version(store, reference)
        if shadow:
            start_shadow(store, version, percent, reason=reason, at=at, actor=workspace.actor)
        else:
            _may_answer(workspace, version, reason, override)
            policy = Canary((percent,), parse_duration("1h"))
            start_canary(store, version, policy, reason=reason, at=at, actor=workspace.actor)
        workspace.publish(version.model)
    what = "shadows" if shadow else "answers"
    click.echo(f"{version.reference} {what} {percent:g} % of the requests. Look: mainspring rollout {version.model}")


def _may_answer(workspace: Workspace, version: ModelVersion, reason: str, override: bool) -> None:
    """Ask the rules of the alias champion: who answers people has to be as good, whatever its share."""
    if override and not reason.strip():
        raise Invalid("An override needs a reason", where="--reason", next_step='--reason "why it may answer"')
    try:
        ask_rules(workspace.store.read, version.model, "champion", version, workspace.mover, override=override)
    except (Denied, GateFailed) as error:
        refuse(workspace.store, version.model, "challenger", version.version, error, workspace.mover)
        raise


@rollout_command.command("set")
@click.argument("model")
@_percent
@_reason
def set_command(model: str, percent: float, reason: str) -> None:
    """Give the canary that is under way another share; who got its answers before still does when it widens.

    \b
    Example:
      mainspring rollout set late-flights --percent 25
    """
    with Workspace() as workspace:
        at = workspace.clock.now()
        canary = set_share(workspace.store, model, percent, reason=reason, at=at, actor=workspace.actor)
        workspace.publish(model)
    click.echo(f"{model}/{canary.version} answers {percent:g} % of the requests.")


@rollout_command.command("stop")
@click.argument("reference")
@_reason
def stop_command(reference: str, reason: str) -> None:
    """End the canary and the shadows of a model, or of one version of it; the champion answers everything.

    \b
    Example:
      mainspring rollout stop late-flights --reason "worse for night flights"
    """
    with Workspace() as workspace:
        model, number, _ = parse_model(reference)
        told = reason or "stopped by hand"
        at = workspace.clock.now()
        ended = stop_rollouts(workspace.store, model, number, reason=told, at=at, actor=workspace.actor)
        workspace.publish(model)
    for each in ended:
        click.echo(f"{each.model}/{each.version} is a {each.status} no more.")


@rollout_command.command("list")
@click.argument("model", required=False)
@click.option("--all", "every", is_flag=True, help="Also those that have ended.")
@json_option
def list_command(model: str | None, every: bool, as_json: bool) -> None:
    """List who answers which share, of one model or of all.

    \b
    Example:
      mainspring rollout list --all
    """
    with Workspace() as workspace:
        names = [model] if model is not None else list(dict.fromkeys(v.model for v in list_versions(workspace.store)))
        found = [each for name in names for each in list_deployments(workspace.store, name)]
    shown = [each for each in found if every or each.ended_at is None]
    if as_json:
        print_json([_document(each) for each in shown])
        return
    rows = [
        [f"{each.model}/{each.version}", each.status, f"{each.weight:g} %", when(each.started_at), each.reason]
        for each in shown
    ]
    print_table(["version", "", "share", "since", "why"], rows, empty="Nothing is deployed: mainspring promote NAME/1")


@rollout_command.command("show")
@click.argument("model")
@click.option("--since", help="Labels that came since then: 7d, or a moment [default: the newest change of shares].")
@json_option
def show_command(model: str, since: str | None, as_json: bool) -> None:
    """Say what came of the answers of each version that takes traffic, and whether they differ: the A/B read-out.

    Bounds hold at all looks together, so a test may be looked at daily and ended as soon as it says something.
    Outcomes are of those who got an arm's answers; a loss is Brier's, or the scaled error of a regression.

    \b
    Example:
      mainspring rollout show late-flights
      mainspring rollout show late-flights --since 7d --json
    """
    from mainspring.monitor.arms import compare_arms, read_arms  # numpy

    with Workspace() as workspace:
        workspace.seal()
        store, now = workspace.store, workspace.clock.now()
        champion = find_champion(store, model)
        if champion is None:
            find_version(store, model)
            raise NotFound(f"`{model}` has no champion", next_step=f"mainspring promote {model}/VERSION")
        canary = active_canary(store, model)
        beside = [*([] if canary is None else [canary]), *active_shadows(store, model)]
        if since is not None:
            begun = from_iso(since) if "-" in since else now - parse_duration(since)
        else:
            begun = from_iso(max([each.stage_at for each in beside], default=champion.created_at))
        left = 100.0 - (canary.weight if canary is not None else 0.0)
        routes = [(champion.version, "champion", left), *((e.version, e.status, e.weight) for e in beside)]
        arms = read_arms(
            workspace.log,
            workspace.signature_of(model, champion.version),
            routes,
            model=model,
            since=begun,
            until=now,
            bound=_error_bound(champion),
        )
        differences = compare_arms(arms)
    if as_json:
        print_json(
            {
                "model": model,
                "since": begun,
                "arms": [each.to_json() for each in arms],
                "differences": [each.to_json() for each in differences],
            }
        )
        return
    rows = [
        [f"{model}/{a.version}", a.route, f"{a.percent:g} %", a.answered, a.labelled, str(a.loss), str(a.outcome or "")]
        for a in arms
    ]
    print_table(["version", "", "share", "answered", "labelled", "loss", "outcome"], rows)
    for each in differences:
        click.echo(f"{model}/{each.version} beside the champion: {each}")
    if not beside:
        click.echo(f"Nothing runs beside the champion. Begin: mainspring rollout start {model}/VERSION --percent 10")


def _error_bound(version: ModelVersion) -> float | None:
    found = version.evidence.get("loss")
    return found.get("bound") if isinstance(found, dict) else None


def _document(each: Deployment) -> dict[str, object]:
    return {
        "model": each.model,
        "version": each.version,
        "status": each.status,
        "percent": each.weight,
        "started_at": each.started_at,
        "stage_at": each.stage_at,
        "ended_at": each.ended_at,
        "reason": each.reason,
    }
