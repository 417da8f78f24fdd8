#!/usr/bin/env python3
"""Checks of the tree that linters do not make: sizes, names, docstrings, and docs that agree with the code.

    scripts/check_tree.py            print one finding a line, with file and line; exit code 1 when there are any
    scripts/check_tree.py --write    refresh the generated blocks of the docs first

A generated block stands in a Markdown file between ``<!-- generated: NAME -->`` and ``<!-- end -->``; `BLOCKS` says
what belongs there. Each check is a function from the root of the tree to its findings; `CHECKS` lists them.
"""

import argparse
import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

# Help is laid out for the width of a terminal; in the docs it has one width everywhere.
os.environ["COLUMNS"] = "100"

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 600
EXAMPLES = {"examples/flights/loop.py": 60, "examples/minimal/loop.py": 15}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
DOCSTRING_LINES = 6
#: Files of users, which follow the users' habits, not ours.
TEMPLATES = "src/mainspring/templates/"
#: Written without the words they look for, so that this file does not find itself.
MACHINE_PATHS = re.compile(r"(?<![\w.~\])}*])/(?:work|root|home/\w+|Users/\w+|mnt/\w+)/")
_DUNDERS = ("__init__.py", "__main__.py")
INDEXES = re.compile(r"(?:--(?:extra-)?index-u[r]l\b|https?://\S*(?:p[y]pi\b|pythonhosted|/simple\b))", re.IGNORECASE)
#: The words of the project; each has a line in the glossary. A new word is added to both in the same change.
NOUNS = "tests/glossary_nouns.txt"


class Finding(NamedTuple):
    """Something to mend: the file, the line (0 when it is the file as a whole), and what."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}" if self.line else f"{self.path}: {self.what}"


def python_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the product's modules with their paths as they are written in the repository."""
    for path in sorted((root / "src").rglob("*.py")):
        yield path.relative_to(root).as_posix(), path


def tracked_files(root: Path) -> list[str]:
    """Return every file that is, or is about to be, in version control."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    )
    return sorted({name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file()})


def _text(root: Path, name: str) -> str:
    """Return the text of a file; a missing one reads as empty, and everything that belongs in it is then a finding."""
    path = root / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def check_sizes(root: Path) -> Iterator[Finding]:
    """No module is longer than a reader's patience, and the examples are as short as is claimed."""
    for name, path in python_files(root):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            yield Finding(name, lines, f"{lines} lines; {MOST_LINES} is the limit, so find a seam")
    for name, most in EXAMPLES.items():
        if not (root / name).is_file():
            yield Finding(name, 0, "the example is missing")
            continue
        lines = len((root / name).read_text(encoding="utf-8").splitlines())
        if lines > most:
            yield Finding(name, lines, f"{lines} lines; the README promises at most {most}")


def check_names(root: Path) -> Iterator[Finding]:
    """A module is named for what is in it."""
    for name, path in python_files(root):
        for part in (path.stem, *path.relative_to(root / "src").parts[:-1]):
            if part in FORBIDDEN_NAMES or part.strip("_") in FORBIDDEN_NAMES - {"util"}:
                yield Finding(name, 0, f"`{part}` names nothing; say what is in it")


def check_docstrings(root: Path) -> Iterator[Finding]:
    """Each public module says in a few lines what it is; a room's front door names its nouns or where to start."""
    for name, path in python_files(root):
        if name.startswith(TEMPLATES) or (path.name.startswith("_") and path.name not in _DUNDERS):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        text = ast.get_docstring(tree)
        if not text:
            yield Finding(name, 1, "no docstring that says what the module is for")
            continue
        opening = text.split("\n\n")[0].splitlines()
        if len(opening) > DOCSTRING_LINES:
            yield Finding(name, 1, f"its first paragraph has {len(opening)} lines; {DOCSTRING_LINES} are enough")
        if path.name == "__init__.py" and not re.search(r"Nouns:|[Ss]tart (?:reading|in|with|at)\b|`__all__`", text):
            yield Finding(name, 1, "a room's docstring names its nouns and where to start reading")
        if path.name != "__main__.py":
            yield from _check_all(name, tree)


def _check_all(name: str, tree: ast.Module) -> Iterator[Finding]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == "__all__" for each in targets):
            shown = ast.literal_eval(node.value)  # type: ignore[attr-defined]  # an assignment, as was just seen
            if shown != sorted(shown, key=_rank):
                yield Finding(name, node.lineno, "`__all__` is not sorted")
            return
    yield Finding(name, 1, "no `__all__`")


def _rank(name: str) -> tuple[int, str]:
    """Order names as the linter does: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def check_addresses(root: Path) -> Iterator[Finding]:
    """No file knows the machine it was written on, or where its packages came from."""
    for name in tracked_files(root):
        path = root / name
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if found := MACHINE_PATHS.search(line):
                yield Finding(name, number, f"`{found[0]}` is a path of one machine")
            if found := INDEXES.search(line):
                yield Finding(name, number, f"`{found[0]}` names a package index")
            if name.startswith("requirements/") and "://" in line:
                yield Finding(name, number, "a lock file holds no address")


def check_public_names(root: Path) -> Iterator[Finding]:
    """What users import is what was reviewed."""
    import mainspring

    pinned = "tests/public_names.txt"
    reviewed = _text(root, pinned).split()
    for name in sorted({*mainspring.__all__} - {*reviewed}):
        yield Finding(pinned, 0, f"`mainspring.{name}` is new; review it and add the name")
    for number, name in enumerate(reviewed, 1):
        if name not in mainspring.__all__:
            yield Finding(pinned, number, f"`mainspring.{name}` is gone; whoever used it needs a deprecation first")
    if reviewed != sorted(reviewed, key=_rank):
        yield Finding(pinned, 0, "the names are not sorted")


def check_glossary(root: Path) -> Iterator[Finding]:
    """Every word of the project has a line, and so has every table."""
    from mainspring.store.migrations import MIGRATIONS

    name = "docs/glossary.md"
    text = _text(root, name)
    explained = {each.lower() for each in re.findall(r"^\| \*\*([^*]+)\*\*", text, re.MULTILINE)}
    for noun in _text(root, NOUNS).splitlines():
        if noun not in explained:
            yield Finding(name, 0, f"no line for `{noun}`")
    for migration in MIGRATIONS:
        for table in _tables_of(migration):
            if f"`{table}`" not in text:
                yield Finding(name, 0, f"no line names the table `{table}` of {migration.__name__}")


def _tables_of(migration: Callable[..., None]) -> list[str]:
    made: list[str] = []

    class Recorder:
        """Stands in for a transaction and remembers the tables that would be made."""

        def execute(self, sql: str, parameters: object = ()) -> list[object]:
            made.extend(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", sql))
            return []

        def execute_many(self, sql: str, rows: object) -> None:
            """Nothing to remember."""

    migration(Recorder())
    return made


def check_served_paths(root: Path) -> Iterator[Finding]:
    """Every path and every metric of the prediction server is in its docs."""
    from mainspring.serve.app import PredictionApp
    from mainspring.serve.endpoint import Endpoints
    from mainspring.serve.metadata import gauges
    from mainspring.serve.metrics import ServerMetrics

    name = "docs/serving.md"
    text = _text(root, name)
    metrics = ServerMetrics()
    endpoints = Endpoints(None, metrics, [])
    app = PredictionApp(None, endpoints, metrics, version="", body_limit=0)  # type: ignore[arg-type]  # only asked
    for path in app._help:
        if f"`{path}`" not in text:
            yield Finding(name, 0, f"no line for `{path}`")
    shown = set(re.findall(r"^# TYPE (\w+)", metrics.text(gauges(endpoints)), re.MULTILINE))
    for metric in sorted(shown):
        if f"`{metric}`" not in text:
            yield Finding(name, 0, f"no line for the metric `{metric}`")


def check_blocks(root: Path) -> Iterator[Finding]:
    """Every generated block is what the code says now, and each block stands somewhere."""
    seen = set()
    for path, number, name, body in _blocks(root):
        seen.add(name)
        shown = path.relative_to(root).as_posix()
        if name not in BLOCKS:
            yield Finding(shown, number, f"no block `{name}` is known; known: {', '.join(sorted(BLOCKS))}")
        elif body != BLOCKS[name]():
            yield Finding(shown, number, f"the block `{name}` is stale: make docs")
    for name in sorted(BLOCKS.keys() - seen):
        yield Finding("docs", 0, f"no page has the block `{name}`")


def check_links(root: Path) -> Iterator[Finding]:
    """A link to another page of the repository leads somewhere."""
    for page in sorted({*_pages(root), *root.glob("*.md")}):
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", line):
                if "://" not in target and not (page.parent / target).exists():
                    yield Finding(page.relative_to(root).as_posix(), number, f"`{target}` is not there")


def check_commands(root: Path) -> Iterator[Finding]:
    """Every command has its section."""
    from mainspring.cli.main import COMMANDS

    name = "docs/commands.md"
    text = _text(root, name)
    for command in COMMANDS:
        if f"## mainspring {command}\n" not in text:
            yield Finding(name, 0, f"no section for `mainspring {command}`")


_BLOCK = re.compile(r"<!-- generated: (?P<name>[\w-]+) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)


def _pages(root: Path) -> list[Path]:
    return [*sorted((root / "docs").rglob("*.md")), *(each for each in [root / "README.md"] if each.exists())]


def _blocks(root: Path) -> Iterator[tuple[Path, int, str, str]]:
    for path in _pages(root):
        text = path.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            yield path, text[: found.start()].count("\n") + 1, found["name"], found["body"]


def write_blocks(root: Path) -> list[str]:
    """Refresh the generated blocks of all pages and return the names of those that changed."""
    changed = []
    for path in _pages(root):
        text = path.read_text(encoding="utf-8")
        fresh = _BLOCK.sub(_filled, text)
        if fresh != text:
            path.write_text(fresh, encoding="utf-8")
            changed.append(path.relative_to(root).as_posix())
    return changed


def _filled(found: "re.Match[str]") -> str:
    name = found["name"]
    body = BLOCKS[name]() if name in BLOCKS else found["body"]
    return f"<!-- generated: {name} -->\n{body}<!-- end -->"


def settings_block() -> str:
    """The table of settings."""
    from mainspring.config import SETTINGS

    rows = [f"| `{each.env}` | {f'`{each.default}`' if each.default else ''} | {each.help} |" for each in SETTINGS]
    return "\n".join(["", "| environment variable | default | meaning |", "|---|---|---|", *rows, "", ""])


def outcomes_block() -> str:
    """The table of error codes."""
    from mainspring import errors

    classes = {each.code: each for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "code")}
    rows = []
    for code, outcome in errors.OUTCOMES.items():
        meaning = (classes[code].__doc__ or "").strip().splitlines()[0].rstrip(".")
        if code == "internal":
            meaning = "An error that nobody foresaw"
        rows.append(
            f"| `{code}` | `{classes[code].__name__}` | {outcome.http_status} | {outcome.exit_code} | {meaning} |"
        )
    head = ["", "| code | class | HTTP status | exit code | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", ""])


def commands_block() -> str:
    """A section for each command with its help, as the command line prints it."""
    import click

    from mainspring.cli.main import mainspring

    root = click.Context(mainspring, info_name="mainspring", terminal_width=100, **mainspring.context_settings)

    def section(marks: str, command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
        context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
        yield from (f"{marks} {context.command_path}", "", "```text", command.get_help(context), "```", "")
        yield from sections(marks + "#", command, context)

    def sections(marks: str, group: click.Command, context: click.Context) -> Iterator[str]:
        for name in group.list_commands(context) if isinstance(group, click.Group) else ():
            command = group.get_command(context, name)
            assert command is not None
            yield from section(marks, command, name, context)

    return "\n".join(["", *sections("##", mainspring, root), ""])


def policies_block() -> str:
    """The table of policies, in the order they are looked at."""
    from mainspring.loop.policies import POLICIES

    rows = [
        f"| {number} | {each.name} | {(each.act.__doc__ or '').splitlines()[0]} |"
        for number, each in enumerate(POLICIES, 1)
    ]
    return "\n".join(["", "| | policy | what it does |", "|---|---|---|", *rows, "", ""])


def metrics_block() -> str:
    """The table of metrics."""
    from mainspring.domain.metric import METRICS

    rows = [
        f"| `{name}` | {'larger' if each.larger_is_better else 'smaller'} | {', '.join(each.tasks)} | {each.meaning} |"
        for name, each in METRICS.items()
    ]
    return "\n".join(["", "| metric | better | tasks | meaning |", "|---|---|---|---|", *rows, "", ""])


#: name of a generated block -> what belongs there
BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands_block,
    "metrics": metrics_block,
    "outcomes": outcomes_block,
    "policies": policies_block,
    "settings": settings_block,
}
CHECKS: tuple[Callable[[Path], Iterator[Finding]], ...] = (
    check_sizes,
    check_names,
    check_docstrings,
    check_addresses,
    check_public_names,
    check_commands,
    check_blocks,
    check_links,
    check_glossary,
    check_served_paths,
)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run every check and print what was found; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="refresh the generated blocks of the docs first")
    if parser.parse_args(arguments).write:
        for name in write_blocks(root):
            print(f"refreshed {name}")
    found = [finding for check in CHECKS for finding in check(root)]
    for finding in found:
        print(finding)
    if found:
        print(f"{len(found)} findings.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
