"""What `mainspring data status` says. It needs neither the database nor the table engine, nor what reads options."""

from collections.abc import Sequence
from pathlib import Path

from mainspring.data.pin_status import PinStatus, status_of
from mainspring.data.pins import find_pins
from mainspring.errors import MainspringError
from mainspring.workspace import Workspace

__all__ = ["report_pins"]

_SHOWN = 20


def report_pins(pins: Sequence[Path] = (), *, as_json: bool = False) -> int:
    """Print what has changed beside pins (files, or folders that are searched), and return 1 when something has."""
    listed = [pin for each in pins or (Path(),) for pin in (find_pins(each) if each.is_dir() else [each])]
    found: list[PinStatus] = []
    failed: dict[Path, str] = {}
    with Workspace() as workspace:
        for pin in listed:
            try:
                found.append(status_of(pin, lambda: workspace.artifacts, workspace.indexes))
            except MainspringError as error:  # one pin that cannot be read does not hide the others
                if len(listed) == 1:
                    raise
                failed[pin] = error.what
    if as_json:
        from mainspring.cli.output import print_json  # brings what reads options

        told = [{"pin": pin, "state": "unreadable", "error": what} for pin, what in failed.items()]
        print_json([*(each._asdict() for each in found), *told])
    else:
        for each in found:
            _print(each)
        for pin, what in failed.items():
            print(f"{pin}: unreadable: {what}")
        if not listed:
            print("No pins here. Make one with `mainspring data add PATH --pin`.")
    return int(bool(failed) or any(each.state != "unchanged" for each in found))


def _print(found: PinStatus) -> None:
    print(f"{found.pin}: {found.state} ({found.version})")
    for sign, names in (("+", found.added), ("~", found.changed), ("-", found.removed)):
        for name in names[:_SHOWN]:
            print(f"  {sign} {name}".rstrip())
        if len(names) > _SHOWN:
            print(f"  {sign} and {len(names) - _SHOWN:,} more")
