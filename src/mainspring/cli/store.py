"""`mainspring store`: copy the metadata database in use, prove that it is whole, and encrypt the artifacts."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json
from mainspring.cli.saving import save_pages
from mainspring.data.remote_keys import encrypt_remote
from mainspring.errors import Conflict
from mainspring.loop.housekeeping import encrypt
from mainspring.store.backup import back_up, check
from mainspring.store.exporting import export_tables
from mainspring.store.protocol import Row
from mainspring.workspace import Workspace

__all__ = ["store_command"]


@click.group("store")
def store_command() -> None:
    """Look after the metadata database and the artifacts.

    \b
    Example:
      mainspring store backup before-upgrade.sqlite
      mainspring store export facts/
      mainspring store encrypt
    """


@store_command.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def _backup(file: Path, as_json: bool) -> None:
    """Copy the database, as it is at one instant, into the new FILE. Nobody who writes has to wait."""
    with Workspace() as workspace:
        size = back_up(workspace.store, file)
    if as_json:
        print_json({"file": file, "size_bytes": size})
    else:
        click.echo(f"{file}: {size:,} bytes.")


@store_command.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["parquet", "csv", "json"]), default="parquet", show_default=True)
@json_option
def _export(folder: Path, form: str, as_json: bool) -> None:
    """Write every fact into the new FOLDER, a file for each table, all of one instant.

    Runs with whole histories, logged models, the registry with its approvals, incidents, the audit log: all but
    users, tokens, webhooks and caches. Files of runs stay where they are; logged_files names their digests.

    \b
    Example:
      mainspring store export facts/
      duckdb -c "SELECT name, count(*) FROM 'facts/runs.parquet' GROUP BY 1"
    """
    if folder.exists():
        raise Conflict(f"`{folder}` exists already", where="FOLDER", next_step="name a new folder")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent) as scratch, Workspace() as workspace:
        draft = Path(scratch) / "facts"
        draft.mkdir()

        def keep(table: str, columns: tuple[str, ...], pages: Iterator[list[Row]]) -> None:
            counts[table] = save_pages(draft / f"{table}.{form}", columns, pages)

        export_tables(workspace.store, keep)
        draft.rename(folder)
    if as_json:
        print_json({"folder": folder, "rows": counts})
    else:
        click.echo(f"{sum(counts.values()):,} rows of {len(counts)} tables in {folder}")


@store_command.command("check")
@json_option
def _check(as_json: bool) -> None:
    """Read the whole database and prove its pages, references and audit chain; exit 3 when something is broken."""
    with Workspace() as workspace:
        entries = check(workspace.store)
    if as_json:
        print_json({"is_whole": True, "events": entries})
    else:
        click.echo(f"The database is whole, and its audit chain of {entries:,} entries holds.")


@store_command.command("encrypt")
@click.option("--remote", default="", metavar="PLACE", help="Do so with what was pushed to PLACE, and not with these.")
@json_option
def _encrypt(remote: str, as_json: bool) -> None:
    """Bring artifacts and the sealed prediction log under the first key of `encryption`, from older keys and from none.

    May be killed and called again, and run beside everything that knows the keys: what is being brought over is read
    where it lies. What lay there before is removed last of all, so there must be room for both; damaged objects that
    were set aside are removed too.

    \b
    Example:
      mainspring data key artifacts-2027 && export MAINSPRING_ENCRYPTION=artifacts-2027
      mainspring store encrypt
      mainspring store encrypt --remote s3://team/data
    """
    if remote:
        _encrypt_remote(remote, as_json)
        return
    with Workspace() as workspace:
        done = encrypt(workspace, None if as_json else _tell)
    if as_json:
        print_json(done._asdict())
    else:
        what = f"{done.objects:,} objects, {done.size_bytes:,} bytes, and {done.segments:,} segments of the log"
        click.echo(f"Encrypted {what}; {done.already:,} objects were.")
        if done.damaged:
            click.echo(f"Removed {done.damaged:,} damaged objects that had been set aside.")


def _encrypt_remote(place: str, as_json: bool) -> None:
    with Workspace() as workspace:
        done, records = encrypt_remote(workspace.store, workspace.artifacts, place, None if as_json else _tell)
    if as_json:
        print_json({**done._asdict(), "records": records})
    else:
        what = f"{done.objects:,} objects, {done.size_bytes:,} bytes, and {records:,} records of versions at {place}"
        click.echo(f"Encrypted {what}; {done.already:,} objects were.")


def _tell(done: int, of: int) -> None:
    if of >= 100 and done % max(1, of // 10) == 0:
        click.echo(f"  {done:,} of {of:,} objects", err=True)
