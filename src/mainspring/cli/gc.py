"""`mainspring gc`: delete for good what was deleted, and free the bytes that nothing names."""

import click

from mainspring.cli.output import json_option, print_json
from mainspring.config import value_of
from mainspring.govern.collect import Freed
from mainspring.loop.housekeeping import clean
from mainspring.predictions.retention import Forgotten
from mainspring.workspace import Workspace

__all__ = ["gc_command"]


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Say what would be freed, and change nothing.")
@click.option(
    "--grace",
    default="1d",
    show_default=True,
    metavar="DURATION",
    help="Leave objects that were put within it; not below what the longest step takes.",
)
@click.option(
    "--retention", default="", metavar="DURATION", help="Erase what was deleted longer ago [default: the setting]."
)
@click.option(
    "--predictions", default="", metavar="DURATION", help="Forget older predictions and labels [default: the setting]."
)
@json_option
def gc_command(dry_run: bool, grace: str, retention: str, predictions: str, as_json: bool) -> None:
    """Erase deleted runs and experiments past their retention, and free the bytes that nothing names.

    Dataset versions whose terms say how long they are kept are let go of when that has passed.

    With --predictions, or the setting `prediction_retention`, the prediction log forgets what is older.

    It is safe beside running writers: bytes that were put within the grace stay, and so does all that a run, a kept
    result, a dataset version or a model version names.

    \b
    Example:
      mainspring gc --dry-run
      mainspring gc --predictions 365d
    """
    with Workspace() as workspace:
        freed, forgotten = clean(workspace, grace=grace, retention=retention, predictions=predictions, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **freed._asdict(), "forgotten": (forgotten or Forgotten(0, 0))._asdict()})
    else:
        _print(freed, dry_run)
        if forgotten is not None:
            kept_for = predictions or value_of("prediction_retention")
            would = "Would forget" if dry_run else "Forgot"
            click.echo(f"{would} {forgotten.rows:,} predictions and labels older than {kept_for}.")


def _print(freed: Freed, dry_run: bool) -> None:
    would = "Would free" if dry_run else "Freed"
    click.echo(f"{would} {freed.size_bytes:,} bytes: {freed.objects:,} objects that nothing names.")
    if freed.shrunk_bytes:
        click.echo(
            f"Freed {freed.shrunk_bytes:,} bytes: older dataset versions are kept as differences to the next ones."
        )
    for each in freed.expired:
        click.echo(
            f"{'Would remove' if dry_run else 'Removed'} {each.reference}: its retention ended at {each.ended_at}."
        )
    if freed.runs:
        click.echo(f"{'Would erase' if dry_run else 'Erased'} {freed.runs:,} deleted runs.")
    if freed.bundle_folders:
        click.echo(f"{'Would remove' if dry_run else 'Removed'} {freed.bundle_folders:,} bundles laid out for serving.")
    click.echo(f"{freed.kept:,} objects are named and stay; {freed.young:,} are too young to tell.")
