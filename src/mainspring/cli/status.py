"""`mainspring status`: how every model stands, in a table or as a page to publish."""

import os
from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.loop.status import status_of
from mainspring.ui.status import status_page
from mainspring.workspace import Workspace

__all__ = ["status_command"]


@click.command("status")
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write a page into this file.")
@json_option
def status_command(page: Path | None, as_json: bool) -> int:
    """Say how every model stands: champion, health, open incidents, last change; exit 1 when one is in trouble.

    `mainspring server` shows the same at /status. The page of --html loads nothing, so any web server can publish it.

    \b
    Example:
      mainspring status
      mainspring status --html /srv/www/status.html
    """
    with Workspace() as workspace:
        status = status_of(workspace)
    if page is not None:
        hidden = page.with_name(f".{page.name}.{os.getpid()}")
        hidden.write_bytes(status_page(status))
        hidden.replace(page)  # in one piece: somebody may be reading it
    if as_json:
        print_json(status)
    else:
        rows = [
            [
                each.model, each.health, each.champion, len(each.incidents), when(each.last_change_at),
                each.last_change, when(each.next_look_at),
            ]
            for each in status.models
        ]  # fmt: skip
        headings = ["model", "health", "champion", "open", "changed", "last change", "next look"]
        print_table(headings, rows, empty="No model serves yet.")
    return 1 if any(each.health == "page" for each in status.models) else 0
