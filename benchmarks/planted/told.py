"""What the product found, told and did of each fault, read from its timeline; and whether quiet weeks were quiet."""

from datetime import timedelta

from mainspring.domain.moments import from_iso
from mainspring.monitor.incidents import list_incidents

__all__ = ["judge", "quiet_weeks", "summary"]


def judge(year, fault):
    """Return the facts of one fault: when it was seen, as what, what was done, and what it cost until then."""
    found, first = fault.found(year), fault.first_at
    is_right = found is not None and found.suspect == fault.truth and fault.clue in found.reason
    lines = {"begins": "-" if first is None else f"{first:%d %b %H:%M}", "true cause": f"{fault.truth} ({fault.clue})"}
    if found is not None:
        lines |= {
            "found": f"{_after(first, found.at)}: {found.title}",
            "until found": _cost(fault, found.at),
            "cause told": f"{found.suspect}: {found.reason}",
            "done": found.done,
        }
    lines |= {
        "over": f"{_after(first, fault.over_at)}",
        "until over": _cost(fault, None),
        "verdict": "found, and told rightly" if is_right else "found, but told WRONGLY" if found else "NOT FOUND",
    }
    return {
        "fault": fault.name,
        "planted": fault.what,
        "is_found": found is not None,
        "is_right": is_right,
        "span": fault.span(year),
        "incidents": [each.incident_id for each in fault.incidents(year)],
        "lines": lines,
    }


def summary(told):
    """Return the rows of the table: one for each fault."""
    names = ("begins", "found", "until found", "over", "until over", "verdict")
    return [(each["fault"], *(str(each["lines"].get(name, "-")) for name in names)) for each in told]


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
    """Say how many rows the fault touched before a moment, or in all, and how many answers it made wrong."""
    before = [each for each in fault.touched if until is None or each.at < until]
    rows, wrong, refused = (sum(getattr(each, name) for each in before) for name in ("touched", "wrong", "refused"))
    return f"{rows:,} rows, {wrong:,} answered wrong" + (f", {refused:,} refused" if refused else "")


def _after(first, then):
    if first is None or then is None:
        return "never"
    minutes = (then - first).total_seconds() / 60
    if minutes <= 0:
        return "at once"
    width, unit = next(each for each in ((1440, "days"), (60, "hours"), (1, "min")) if minutes >= each[0])
    return f"after {minutes / width:.3g} {unit}"
