"""The status page: one file that says how each model stands, for people who run none of it."""

from html import escape

from mainspring.loop.status import Health, ModelStatus, Status
from mainspring.pipeline.ticks import Standing
from mainspring.ui.frame import framed, table

__all__ = ["status_page"]

_WORDS: dict[Health, str] = {
    "well": "well", "info": "noted", "ticket": "needs attention", "page": "in trouble", "off": "serves nothing",
}  # fmt: skip
_CLASS: dict[Health, str] = {"well": "well", "info": "well", "ticket": "ticket", "page": "page", "off": "off"}


def status_page(status: Status) -> bytes:
    """Return the page; it loads nothing and runs nothing, so it can be put on any web server."""
    troubled = sum(each.health in ("ticket", "page") for each in status.models)
    said = f"{troubled} of {len(status.models)} models need somebody" if troubled else "All is well"
    if not status.models:
        said = "No model serves yet"
    models = "".join(_model(each) for each in status.models)
    return framed(
        f"Status: {said}",
        f"<h1>{escape(said)}</h1><p class=about>As of {_moment(status.at)} UTC</p>{models}{_schedules(status)}",
    )


def _model(status: ModelStatus) -> str:
    version = "none" if status.champion is None else f"version {status.champion}"
    rows: list[tuple[str, object]] = [("health", _WORDS[status.health])]
    rows.append(
        ("champion", f"{version}, since {_moment(status.champion_since)}" if status.champion_since else version)
    )
    rows += [("canary", status.canary)] if status.canary else []
    rows += [
        ("last change", f"{_moment(status.last_change_at)}: {status.last_change}" if status.last_change else "none"),
        ("last prediction", _moment(status.last_prediction_at) or "none yet"),
        ("next look", _moment(status.next_look_at) or "nobody looks by the clock"),
    ]
    incidents = "".join(
        f"<tr><td>{escape(each.severity)}</td><td class=wide>{escape(each.title)}</td><td>{escape(each.status)}</td>"
        f"<td>{_moment(each.opened_at)}</td><td>{escape(each.owner)}</td></tr>"
        for each in status.incidents
    )
    head = "<tr><th>severity<th>incident<th>state<th>opened<th>owner</tr>"
    listed = f"<table class=incidents>{head}{incidents}</table>" if incidents else ""
    return f"<section class={_CLASS[status.health]}><h2>{escape(status.model)}</h2>{table(rows)}{listed}</section>"


def _schedules(status: Status) -> str:
    rows = "".join(_schedule(each) for each in status.schedules)
    head = "<tr><th>schedule<th>when<th>next<th>last<th>at work</tr>"
    return f"<h2>Schedules</h2><table>{head}{rows}</table>" if rows else ""


def _schedule(standing: Standing) -> str:
    made, last, held = standing.schedule, standing.last, standing.at_work
    ended = "" if last is None else f"{last.status} {_moment(last.due_at.isoformat())}"
    cells = (
        made.name,
        f"{made.cron} ({made.timezone})",
        _moment(made.next_at.isoformat()),
        ended,
        held.holder if held else "",
    )
    return "<tr>" + "".join(f"<td class=wide>{escape(each)}</td>" for each in cells) + "</tr>"


def _moment(at: str) -> str:
    return escape(at[:16].replace("T", " "))
