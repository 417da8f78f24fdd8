"""What the product found, told and did of each fault, read from its timeline; and whether quiet weeks were quiet."""

from datetime import timedelta

from mainspring.domain.moments import from_iso
from mainspring.monitor.incidents import find_incident, list_incidents

__all__ = ["judge", "quiet_weeks"]

#: What opens so long after a fault was over is still its doing: what it left behind is seen by the looks that follow.
_AFTER = timedelta(days=4)


def judge(year, fault):
    """Return the facts of one fault: when it was seen, as what, what was done, and what it cost until then."""
    over = fault.over_at or year.clock.now()
    incidents = [each for each in _incidents(year) if fault.begins <= from_iso(each.opened_at) <= over + _AFTER]
    found = incidents[0] if incidents else None
    first = fault.touched[0].at if fault.touched else None
    lines = {"first bad request": _moment(first)}
    cause, is_found, is_right = "nothing", False, False
    if found is not None:
        opened = from_iso(found.opened_at)
        cause, is_found = f"{found.diagnosis.get('suspect')}: {found.diagnosis.get('reason')}", True
        lines |= {
            "incident": f"{found.title} (rule {found.rule}, {found.severity})",
            "opened": f"{_moment(opened)}, {_after(first, opened)}; {_cost(fault, opened)}",
        }
        is_right = found.diagnosis.get("suspect") == fault.truth and fault.clue in cause
    lines |= {
        "cause told": cause,
        "true cause": f"{fault.truth} ({fault.clue})",
        "done": "; ".join(f"{each.at[5:10]} {each.what}" for each in found.timeline[1:]) if found else "",
        "over": f"{_moment(fault.over_at)}, {_after(first, fault.over_at)}; {_cost(fault, over)}",
        "verdict": "found, and told rightly" if is_right else "found, but told wrongly" if is_found else "NOT FOUND",
    }
    return {
        "fault": fault.name,
        "planted": fault.what,
        "is_found": is_found,
        "is_right": is_right,
        "span": [fault.begins, over + _AFTER],
        "incidents": [each.incident_id for each in incidents],
        "lines": lines,
    }


def quiet_weeks(year, told):
    """Return how many weeks had neither a planted fault nor a loss over the limit, and the alarms raised in them."""
    quiet, harmed, alarms = [], [], []
    planted = {identifier for each in told for identifier in each["incidents"]}
    for week, (total, rows, limit) in year.losses.items():
        if any(f"{day:%G-W%V}" == week for each in told for day in _days(*each["span"])):
            continue
        (quiet if total / rows <= limit else harmed).append(week)
    others = [each for each in _incidents(year) if each.incident_id not in planted]
    for each in others:
        if f"{from_iso(each.opened_at) - timedelta(days=1):%G-W%V}" in quiet:
            alarms.append(f"{each.opened_at[:10]} {each.title}")
    said = f"{len(quiet)} quiet weeks, {len(alarms)} of them with an alarm"
    if harmed:
        said += (
            f"; {len(harmed)} weeks in which nothing was planted and the loss was over its limit ({', '.join(harmed)})"
        )
    for each in others:
        said += f"\n  not planted: {each.opened_at[:10]} {each.title} ({each.rule}): {each.diagnosis.get('suspect')}"
    return {"quiet": len(quiet), "alarms": alarms, "told": said}


def _incidents(year):
    store = year.workspace.store
    found = list_incidents(store, model=year.loop.name)
    return [find_incident(store, each.incident_id) for each in reversed(found)]


def _days(first, last):
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _cost(fault, until):
    """Say how much the fault had touched by a moment."""
    before = [each for each in fault.touched if each.at < until]
    rows, wrong, refused = (sum(getattr(each, name) for each in before) for name in ("touched", "wrong", "refused"))
    return f"{rows:,} rows touched, {wrong:,} answers wrong by it" + (f", {refused:,} rows refused" if refused else "")


def _moment(at):
    return "-" if at is None else f"{at:%d %b %H:%M}"


def _after(first, then):
    if first is None or then is None:
        return "-"
    hours = (then - first).total_seconds() / 3600
    return f"{hours:.0f} h after the first bad request" if hours < 72 else f"{hours / 24:.1f} days after"
