"""`mainspring prometheus`: alert rules with their tests, a dashboard, and examples of settings for all of them."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json
from mainspring.errors import Conflict

__all__ = ["prometheus_command"]

_TEMPLATES = Path(__file__).parents[1] / "templates" / "prometheus"


@click.command("prometheus")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@json_option
def prometheus_command(folder: Path, as_json: bool) -> None:
    """Write alert rules for the prediction server into DIR, with rule tests and two examples of settings.

    dashboard.json shows the same metrics in Grafana: import it there, and choose the Prometheus that scrapes them.

    No file that is there is written over.

    \b
    Example:
      mainspring prometheus monitoring && promtool test rules monitoring/rules_test.yml
    """
    files = sorted(each for each in _TEMPLATES.iterdir() if each.suffix in (".yml", ".json"))
    there = [each.name for each in files if (folder / each.name).exists()]
    if there:
        raise Conflict(
            f"`{folder}` holds {', '.join(there)} already", next_step="name another folder, or move them away"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for each in files:
        (folder / each.name).write_bytes(each.read_bytes())
    if as_json:
        print_json({"folder": folder, "files": [each.name for each in files]})
        return
    click.echo(f"Wrote {', '.join(each.name for each in files)} to {folder}.")
