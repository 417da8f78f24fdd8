"""The names that the docs mention exist: functions, classes and modules, written as room.module.name."""

import re
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ROOMS = {each.stem for each in (DOCS.parent / "src" / "mainspring").iterdir() if not each.name.startswith(("_", "."))}
#: Files in a workspace or project, and the methods of a user's own `loop`.
FILES = (".py", ".json", ".lock", ".sqlite", "loop.run", "loop.tick")
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def mentioned(page: str) -> set[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    dotted = re.findall(r"`((?:mainspring\.)?[a-z_]+(?:\.[A-Za-z_]+)+)`", text)
    return {name for each in dotted if (name := each.removeprefix("mainspring.")).partition(".")[0] in ROOMS}


def resolve(name: str) -> object:
    """Import as much of `name` as is a module and look the rest up in it."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(["mainspring", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise LookupError(name)


@pytest.mark.parametrize("page", PAGES)
def test_every_name_on_the_page_exists(page: str) -> None:
    for name in sorted(mentioned(page)):
        assert name.endswith(FILES) or resolve(name) is not None, name


def test_the_architecture_page_names_what_it_follows() -> None:
    assert len(mentioned("architecture.md")) >= 20


@pytest.mark.parametrize("page", PAGES)
def test_every_file_on_the_page_exists(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for file in set(re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.(?:py|txt))`", text)):
        places = (DOCS.parent / file, DOCS.parent / "src" / file, DOCS.parent / "src" / "mainspring" / file)
        assert any(place.exists() for place in places), file
