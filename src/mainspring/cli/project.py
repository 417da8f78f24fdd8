"""`mainspring init`: a folder with a project that runs at once: loop, data, schema, tests, notebook."""

import re
import runpy
import shutil
import tempfile
from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json
from mainspring.errors import Conflict, Invalid

__all__ = ["init_command"]

_TEMPLATES = Path(__file__).parents[1] / "templates"
#: A dotted file in the package would act on the package's own folder, so it gets its dot on the way out.
_DOTTED = {"gitignore": ".gitignore"}
_NEXT = ("mainspring run loop.py", "mainspring serve churn", "python -m pytest")


@click.command("init")
@click.argument("name")
@json_option
def init_command(name: str, as_json: bool) -> None:
    """Make a folder NAME with a project that runs: loop, made-up data, schema, tests, notebook.

    \b
    Example:
      mainspring init churn && cd churn && mainspring run loop.py
    """
    folder = _free_folder(name)
    files = _fill(folder)
    if as_json:
        print_json({"project": folder.name, "folder": folder, "files": files, "next": _NEXT})
        return
    click.echo(f"Made {name} with {', '.join(files)}.")
    click.echo("Next:")
    click.echo(f"  cd {name}")
    for command in _NEXT:
        click.echo(f"  {command}")


def _free_folder(name: str) -> Path:
    """Return the folder that `name` means; it does not exist yet or is empty.

    Raises:
        Invalid: the last part of the path cannot name a project.
        Conflict: something is there already.
    """
    folder = Path(name).expanduser().resolve()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", folder.name):
        raise Invalid(
            f"`{folder.name or name}` cannot name a project",
            where="NAME",
            next_step="use up to 64 letters, digits, dots and dashes, such as churn",
        )
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"`{name}` is a file", where=str(folder), next_step="choose another name, or move the file")
    if folder.exists() and any(folder.iterdir()):
        raise Conflict(f"`{name}` is there already and not empty", where=str(folder), next_step="choose another name")
    return folder


def _fill(folder: Path) -> list[str]:
    """Write the project beside `folder` first and move it in, so that a failure leaves nothing half made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        building = Path(scratch)
        shutil.copyfile(_TEMPLATES / "minimal" / "loop.py", building / "loop.py")
        for source in sorted((_TEMPLATES / "project").rglob("*")):
            place = source.relative_to(_TEMPLATES / "project")
            if source.is_dir() or "__pycache__" in place.parts:
                continue
            target = building / place.with_name(_DOTTED.get(place.name, place.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        readme = building / "README.md"
        readme.write_text(readme.read_text(encoding="utf-8").replace("{name}", folder.name), encoding="utf-8")
        # run as the project's own owner would run it, so that the file and the program that claims to make it agree
        runpy.run_path(str(building / "customers.py"))["write_customers"](building / "customers.csv")
        files = sorted(str(path.relative_to(building)) for path in building.rglob("*") if path.is_file())
        folder.mkdir(exist_ok=True)
        for entry in building.iterdir():
            entry.rename(folder / entry.name)
    return files
