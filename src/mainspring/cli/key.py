"""`mainspring key`: make an API key for the prediction server."""

from pathlib import Path

import click

from mainspring.serve.guard import add_key

__all__ = ["key_command"]


@click.command("key")
@click.argument("name")
@click.option("--file", "path", required=True, type=click.Path(path_type=Path), help="File of keys; made if need be.")
@click.option("--scope", "scopes", multiple=True, required=True, help="predict:MODEL, predict:*, feedback or read.")
@click.option("--per-second", type=click.FloatRange(0, min_open=True), help="Requests a second that it may ask.")
def key_command(name: str, path: Path, scopes: tuple[str, ...], per_second: float | None) -> int:
    """Put a key for the consumer NAME into a file, and print it. It is shown once: the file holds only its hash.

    \b
    Example:
      mainspring key shop --file keys.json --scope predict:churn --scope feedback --per-second 50
      mainspring serve churn --host 0.0.0.0 --keys keys.json
      curl -H "authorization: Bearer KEY" ...
    """
    click.echo(add_key(path, name, list(scopes), per_second))
    return 0
