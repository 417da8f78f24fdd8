"""News of a run while it goes on: a living tree on a terminal, one line a step elsewhere."""

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from mainspring.pipeline.cost import RunCost
from mainspring.pipeline.outcome import StepEvent

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["LiveTree", "StepPrinter", "print_cost", "progress_for_people"]

_MARKS = {"cached": "=", "running": ">", "retrying": "!", "finished": "+", "failed": "x"}
_STYLES = {"cached": "dim", "running": "bold", "retrying": "yellow", "finished": "green", "failed": "red"}
#: What the screen needs for itself, besides the steps.
_SPARE_LINES = 5


class StepPrinter:
    """Tells of each step on standard error: one line when it ends, so that it reads the same in a log."""

    def on_step(self, event: StepEvent) -> None:
        """Print what became of a step; that it has begun is no news for a log."""
        if event.status == "running":
            return
        seconds = f" {event.seconds:.1f} s" if event.status == "finished" else ""
        click.echo(f"  {event.status:<9}{event.name}{seconds}  {event.reason}".rstrip(), err=True)

    def __enter__(self) -> "StepPrinter":
        return self

    def __exit__(self, *_: object) -> None:
        return None


class LiveTree:
    """Draws the steps of a run on the terminal and keeps the picture up to date; what steps print stands above it.

    Use as a context manager: the last picture stays.
    """

    def __init__(self, console: Any = None) -> None:  # a rich Console; rich is imported on a terminal only
        self._console = console
        self._events: dict[int, StepEvent] = {}
        self._started: dict[int, float] = {}
        self._live: Any = None  # a rich Live

    def on_step(self, event: StepEvent) -> None:
        """Take notice of an event; the picture is drawn a few times a second."""
        self._events[event.number] = event
        self._started.setdefault(event.number, time.monotonic())

    def __enter__(self) -> "LiveTree":
        from rich.console import Console
        from rich.live import Live

        self._console = self._console or Console(stderr=True)
        self._live = Live(
            console=self._console,
            get_renderable=self.picture,
            refresh_per_second=8,
            # What goes into a pipe or a file stays there.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def picture(self) -> "Tree":
        """Return the tree as it is now: what runs or failed, and as many of the others as the screen takes."""
        from rich.text import Text
        from rich.tree import Tree

        events = sorted(self._events.values(), key=lambda each: each.number)
        counts = Counter(each.status for each in events)
        head = ", ".join(f"{count} {status}" for status, count in counts.items()) or "starting"
        tree = Tree(Text(head))
        room = max(self._console.height - _SPARE_LINES, 3)
        settled = [each for each in events if each.status in ("cached", "finished")]
        hidden = {each.number for each in settled[: max(len(events) - room, 0)]}
        if hidden:
            tree.add(Text(f"... {len(hidden)} steps before", style="dim"))
        for each in events:
            if each.number not in hidden:
                seconds = each.seconds or (
                    time.monotonic() - self._started[each.number] if each.status in ("running", "retrying") else 0.0
                )
                told = f"{_MARKS[each.status]} {each.name}" + (f"  {seconds:.1f} s" if seconds else "")
                tree.add(Text(told, style=_STYLES[each.status]).append(f"  {each.reason}", style="dim"))
        return tree


def progress_for_people() -> "StepPrinter | LiveTree":
    """Return what suits standard error: a living tree on a terminal, lines elsewhere."""
    return LiveTree() if sys.stderr.isatty() else StepPrinter()


def print_cost(cost: RunCost) -> None:
    """Print what a run took and what the cache saved, in one line on standard error."""
    ran = [each for each in cost.steps if not each.row.cached]
    told = []
    if ran:
        memory = f", {cost.peak_memory_bytes / 1e6:.0f} MB" if cost.peak_memory_bytes else ""
        told.append(f"{len(ran)} steps ran: {cost.seconds:.1f} s, {cost.cpu_seconds:.1f} s of CPU{memory}")
    if len(ran) < len(cost.steps):
        told.append(f"{len(cost.steps) - len(ran)} were found: {cost.saved_seconds:.1f} s saved by the cache")
    if told:
        click.echo(f"  {'; '.join(told)}", err=True)
