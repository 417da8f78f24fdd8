"""What `mainspring data add` does. Like `pin_report` it does without what reads words and options."""

from pathlib import Path

from mainspring.data.file_index import read_index
from mainspring.data.pins import ENDING, pin_of, read_pin, write_pin
from mainspring.data.terms import Terms
from mainspring.data.version_terms import keep_terms
from mainspring.data.versions import DatasetVersion, add_dataset, count_files, pin_for
from mainspring.workspace import Workspace

__all__ = ["add_path", "report_added"]


def add_path(
    path: Path, *, name: str = "", source: str = "", schema: Path | None = None, pin: bool = False
) -> DatasetVersion:
    """Keep a file or folder as the next version of a dataset, with the terms beside it, and keep its pin up to date."""
    place = pin_of(path)
    pinned = read_pin(place) if place.is_file() else None
    name = name or (pinned.dataset if pinned else place.name.removesuffix(ENDING).partition(".")[0])
    terms = _terms_beside(path, schema)
    with Workspace() as workspace:
        added = add_dataset(
            workspace.store,
            workspace.artifacts,
            path,
            name=name,
            source=source,
            at=workspace.clock.now(),
            indexes=workspace.indexes,
        )
        if terms != Terms():
            keep_terms(workspace.store, added, terms, at=workspace.clock.now())
        if pin or (pinned and pinned.dataset == name):
            seen = read_index(workspace.indexes, path)
            files = seen.n_files if seen.digest == added.digest else count_files(workspace.artifacts, added)
            wanted = pin_for(added, place.name.removesuffix(ENDING), files)
            wanted = wanted._replace(remote=pinned.remote if pinned else "")
            if wanted != pinned:
                write_pin(place, wanted)
    return added


def report_added(added: DatasetVersion) -> None:
    """Print which version was added, or was there already."""
    rows = "" if added.n_rows is None else f", {added.n_rows:,} rows"
    print(f"{added.reference}: {added.size_bytes:,} bytes{rows}, {added.digest[:16]}")


def _terms_beside(path: Path, schema: Path | None) -> Terms:
    beside = path.with_name(path.stem + ".schema.yaml")
    if schema is None and not (path.is_file() and beside.is_file()):
        return Terms()
    from mainspring.data.schema_file import read_schema  # brings the table engine, which most adds do without

    return read_schema(schema or beside).terms
