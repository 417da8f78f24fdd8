"""What the product found, told and did of each fault, read from its timeline; and whether quiet weeks were quiet."""

from datetime import timedelta

from mainspring.domain.moments import from_iso
from mainspring.monitor.incidents import list_incidents

__all__ = ["judge", "quiet_weeks"]


def judge(year, fault):
    """Return the facts of one fault: when it was seen, as what, what was done, and what it cost until then."""
    found = fault.found(year)
    first = fault.touched[0].at if fault.touched else None
    lines = {"first bad request": _moment(first)}
    if found is not None:
        lines |= {"found as": found.title, "found": f"{_moment(found.at)}, {_after(first, found.at)}"}
        lines |= {"until then": _cost(fault, found.at), "cause told": f"{found.suspect}: {found.reason}"}
        lines |= {"done": found.done}
    is_right = found is not None and found.suspect == fault.truth and fault.clue in found.reason
    lines |= {
        "true cause": f"{fault.truth} ({fault.clue})",
        "over": f"{_moment(fault.over_at)}, {_after(first, fault.over_at)}",
        "in all": _cost(fault, None),
        "verdict": "found, and told rightly" if is_right else "found, but told WRONGLY" if found else "NOT FOUND",
    }
    return {
        "fault": fault.name,
        "planted": fault.what,
        "is_found": found is not None,
        "is_right": is_right,
        "span": fault.span(year),
        "incidents": [] if fault.name == "killed" else [each.incident_id for each in fault.incidents(year)],
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
    others = list(reversed(list_incidents(year.workspace.store, model=year.loop.name)))
    others = [each for each in others if each.incident_id not in planted]
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


def _days(first, last):
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _cost(fault, until):
    """Say how much the fault had touched by a moment, or in all."""
    before = [each for each in fault.touched if until is None or each.at < until]
    rows, wrong, refused = (sum(getattr(each, name) for each in before) for name in ("touched", "wrong", "refused"))
    return f"{rows:,} rows touched, {wrong:,} answers wrong by it" + (f", {refused:,} rows refused" if refused else "")


def _moment(at):
    return "-" if at is None else f"{at:%d %b %H:%M}"


def _after(first, then):
    if first is None or then is None:
        return "-"
    hours = (then - first).total_seconds() / 3600
    return f"{hours:.0f} h after the first bad request" if hours < 72 else f"{hours / 24:.1f} days after"
