"""`mainspring data add`, `list`, `log`, `checkout`, `pin`, `tag`: versions of files and folders, and their names."""

from pathlib import Path

import click

from mainspring.cli.adding import add_path, report_added
from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.data.pinned import checkout_pin
from mainspring.data.pins import ENDING, pin_of, read_pin, write_pin
from mainspring.data.version_tags import list_tags, tag_version
from mainspring.data.version_terms import refuse_expired, terms_of
from mainspring.data.versions import (
    DatasetVersion,
    checkout_dataset,
    count_files,
    find_dataset,
    list_datasets,
    pin_for,
)
from mainspring.errors import Invalid
from mainspring.workspace import Workspace

__all__ = ["add_command", "checkout_command", "list_command", "log_command", "pin_command", "show_command",
           "tag_command"]  # fmt: skip


@click.command("add")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="", help="The dataset's name [default: the pin's, else the path's].")
@click.option("--source", default="", help="Where the bytes came from (default: the file's name).")
@click.option("--schema", type=click.Path(path_type=Path), help="Whose terms to keep [default: PATH's .schema.yaml].")
@click.option("--pin", is_flag=True, help="Write PATH.pin beside it; a pin that is there is kept up to date anyway.")
@json_option
def add_command(path: Path, name: str, source: str, schema: Path | None, pin: bool, as_json: bool) -> None:
    """Keep the bytes of PATH, a file or a folder, as the next version of a dataset.

    The terms of use that its schema declares are kept with the version.

    Files that have not changed since the last add or checkout are not read again.

    \b
    Example:
      mainspring data add flights.csv --name flights
      mainspring data add images --pin
    """
    added = add_path(path, name=name, source=source, schema=schema, pin=pin)
    if as_json:
        print_json(added)
    else:
        report_added(added)


@click.command("list")
@click.argument("name", required=False)
@json_option
def list_command(name: str | None, as_json: bool) -> None:
    """List dataset versions, newest first.

    \b
    Example:
      mainspring data list
    """
    with Workspace() as workspace:
        if name is not None:
            find_dataset(workspace.store, name)
        found = list_datasets(workspace.store, name)
    if as_json:
        print_json(found)
        return
    rows = [[each.reference, *_facts(each)] for each in found]
    print_table(["version", "added", "bytes", "rows", "digest", "source"], rows, empty="No datasets yet.")


def _facts(each: DatasetVersion) -> list[object]:
    return [when(each.created_at), f"{each.size_bytes:,}", each.n_rows, each.digest[:16], each.source]


@click.command("log")
@click.argument("dataset")
@json_option
def log_command(dataset: str, as_json: bool) -> None:
    """Tell the versions of one DATASET, a name or a pin file, newest first, with their tags.

    \b
    Example:
      mainspring data log images.pin
    """
    name = read_pin(Path(dataset)).dataset if dataset.endswith(ENDING) else dataset
    with Workspace() as workspace:
        find_dataset(workspace.store, name)
        found = list_datasets(workspace.store, name)
        tags = list_tags(workspace.store, name)
        terms = {each.version: terms_of(workspace.store, each) for each in found}
    named = {each.version: sorted(tag for tag, version in tags.items() if version == each.version) for each in found}
    if as_json:
        told = [{"version": e, "tags": named[e.version], "terms": terms[e.version]} for e in found]
        print_json(told)
        return
    rows = [[each.reference, ", ".join(named[each.version]), *_facts(each)] for each in found]
    print_table(["version", "tags", "added", "bytes", "rows", "digest", "source"], rows)


@click.command("show")
@click.argument("reference")
@json_option
def show_command(reference: str, as_json: bool) -> None:
    """Tell what NAME/VERSION or NAME@TAG is: bytes, rows, columns, and where every part of it came from.

    \b
    Example:
      mainspring data show orders/3
    """
    with Workspace() as workspace:
        found = find_dataset(workspace.store, reference)
    if as_json:
        print_json(found)
        return
    rows = "" if found.n_rows is None else f", {found.n_rows:,} rows"
    click.echo(f"{found.reference}, added {when(found.created_at)}: {found.size_bytes:,} bytes{rows}, {found.digest}")
    click.echo(f"from {found.source}")
    for name, kind in (found.columns or {}).items():
        click.echo(f"  {name}: {kind}")
    words = ("name", "rows", "size_bytes", "digest", "stamp", "after", "until")
    parts = (found.origin or {}).get("parts", [])
    used = [word for word in words if any(word in each for each in parts)]
    if parts:
        print_table(used, [[each.get(word, "") for word in used] for each in parts])


@click.command("checkout")
@click.argument("reference")
@click.option("--to", "target", type=click.Path(path_type=Path), help="The file or folder to write [a pin says it].")
@click.option("--force", is_flag=True, help="Replace what is there, though no version may hold it.")
def checkout_command(reference: str, target: Path | None, force: bool) -> None:
    """Write the bytes of NAME/VERSION or NAME@TAG, exactly as they were added; or make what a PIN names so again.

    Beside a pin only files that differ are written. Changes that no version holds are not written over without --force.

    \b
    Example:
      mainspring data checkout flights/1 --to old.csv
      mainspring data checkout images.pin
    """
    with Workspace() as workspace:
        if reference.endswith(ENDING):
            if target is not None:
                raise Invalid("A pin says itself where its data lies", where="--to", next_step="leave --to out")
            refuse_expired(workspace.store, read_pin(Path(reference)).digest, at=workspace.clock.now())
            path = checkout_pin(Path(reference), workspace.artifacts, workspace.indexes, force=force)
        elif target is None:
            raise Invalid("It is not said where to", where="--to", next_step="say --to PATH, or name a pin file")
        else:
            found = find_dataset(workspace.store, reference)
            refuse_expired(workspace.store, found.digest, at=workspace.clock.now())
            path = checkout_dataset(workspace.store, workspace.artifacts, reference, target, force=force)
    click.echo(str(path))


@click.command("pin")
@click.argument("reference")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where its data will lie [default: its name].")
@json_option
def pin_command(reference: str, target: Path | None, as_json: bool) -> None:
    """Write PATH.pin, which says that NAME/VERSION or NAME@TAG belongs at PATH; `data checkout PATH.pin` brings it.

    \b
    Example:
      mainspring data pin images@gold --to images && mainspring data checkout images.pin
    """
    with Workspace() as workspace:
        found = find_dataset(workspace.store, reference)
        place = pin_of(target or Path(found.file_name.rstrip("/")))
        pin = pin_for(found, place.name.removesuffix(ENDING), count_files(workspace.artifacts, found))
    write_pin(place, pin)
    if as_json:
        print_json({"pin": place, **pin._asdict()})
    else:
        click.echo(f"{place.name}: {found.reference}")


@click.command("tag")
@click.argument("reference")
@click.argument("tag")
@click.option("--move", is_flag=True, help="Take the tag from the version that has it.")
def tag_command(reference: str, tag: str, move: bool) -> None:
    """Give the version NAME/VERSION a TAG, so that it is found as NAME@TAG.

    \b
    Example:
      mainspring data tag flights/3 gold && mainspring data checkout flights@gold --to gold.csv
    """
    with Workspace() as workspace:
        found = tag_version(workspace.store, reference, tag, at=workspace.clock.now(), move=move)
    click.echo(f"{found.name}@{tag} is {found.reference}")
