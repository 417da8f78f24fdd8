"""The checks of the tree: each finds what it is for in a small tree of its own, and names file and line."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tree() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("check_tree", ROOT / "scripts" / "check_tree.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_tree"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["check_tree"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)

    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return put


def told(findings: Iterator[object]) -> list[str]:
    return [str(each) for each in findings]


GOOD = '"""A room: what it is for.\n\nNouns: one, two. Start reading in `one.py`.\n"""\n\n__all__ = ["A", "b"]\n'


def test_a_long_module_is_found(tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]) -> None:
    write("src/mainspring/long.py", "x = 1\n" * 601)
    write("src/mainspring/short.py", "x = 1\n" * 600)
    write("examples/flights/loop.py", "x = 1\n" * 60)
    write("examples/minimal/loop.py", "x = 1\n" * 16)
    assert told(tree.check_sizes(tmp_path)) == [
        "src/mainspring/long.py:601: 601 lines; 600 is the limit, so find a seam",
        "examples/minimal/loop.py:16: 16 lines; the README promises at most 15",
    ]


@pytest.mark.parametrize("name", ["utils.py", "helpers/one.py", "_misc.py", "manager.py"])
def test_a_name_that_says_nothing_is_found(
    name: str, tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write(f"src/mainspring/{name}", "")
    write("src/mainspring/_util/clock.py", "")
    assert [each.path for each in tree.check_names(tmp_path)] == [f"src/mainspring/{name}"]


def test_docstrings_and_public_lists_are_looked_at(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("src/mainspring/room/__init__.py", GOOD)
    write("src/mainspring/bare.py", "__all__ = []\n")
    write("src/mainspring/noall.py", '"""Something."""\n')
    write("src/mainspring/order.py", '"""Something."""\n\n__all__ = ["b", "A"]\n')
    write("src/mainspring/prose.py", '"""' + "a line\n" * 7 + '"""\n\n__all__ = []\n')
    write("src/mainspring/terse/__init__.py", '"""A room."""\n\n__all__ = []\n')
    write("src/mainspring/_private.py", "x = 1\n")
    write("src/mainspring/templates/loop.py", "x = 1\n")
    assert told(tree.check_docstrings(tmp_path)) == [
        "src/mainspring/bare.py:1: no docstring that says what the module is for",
        "src/mainspring/noall.py:1: no `__all__`",
        "src/mainspring/order.py:3: `__all__` is not sorted",
        "src/mainspring/prose.py:1: its first paragraph has 7 lines; 6 are enough",
        "src/mainspring/terse/__init__.py:1: a room's docstring names its nouns and where to start reading",
    ]


def test_a_path_of_one_machine_and_a_package_index_are_found(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    # put together from halves, so that this file is not a finding itself
    home, option, index = "/" + "home/ada/", "--index" + "-url", "https://" + "pyp" + "i.org"
    write("notes.md", f"fine\nsee {home}notes\n")
    write("install.sh", f"pip install {option} x\nsee {index}/project\n")
    write("requirements/base.txt", "numpy==2\n-e git+https://example.org/numpy\n")
    write("routes.py", '"/models/{model}/work/x", "~/work/x", "a/root/b"\n')
    (tmp_path / "picture.bin").write_bytes(b"\xff\xfe" + home.encode())
    assert told(tree.check_addresses(tmp_path)) == [
        f"install.sh:1: `{option}` names a package index",
        f"install.sh:2: `{index[:12]}` names a package index",
        f"notes.md:2: `{home}` is a path of one machine",
        "requirements/base.txt:2: a lock file holds no address",
    ]


def test_ignored_files_are_nobodys_business(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write(".gitignore", "build/\n")
    write("build/log.txt", "/" + "root/x\n")
    assert told(tree.check_addresses(tmp_path)) == []


def test_a_new_and_a_lost_public_name_are_found(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    names = (ROOT / "tests" / "public_names.txt").read_text().split()
    write("tests/public_names.txt", "\n".join([*(name for name in names if name != "Loop"), "zeal"]))
    assert [each.what.split(";")[0] for each in tree.check_public_names(tmp_path)] == [
        "`mainspring.Loop` is new",
        "`mainspring.zeal` is gone",
    ]


def test_a_stale_block_is_found_and_refreshed(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    blocks = "\n".join(f"<!-- generated: {name} -->\nold\n<!-- end -->" for name in sorted(tree.BLOCKS))
    write("docs/page.md", f"before\n{blocks}\nafter\n")
    stale = told(tree.check_blocks(tmp_path))
    assert len(stale) == len(tree.BLOCKS)
    assert stale[0] == "docs/page.md:2: the block `commands` is stale: make docs"
    assert tree.write_blocks(tmp_path) == ["docs/page.md"]
    assert told(tree.check_blocks(tmp_path)) == []
    assert tree.write_blocks(tmp_path) == []
    text = (tmp_path / "docs" / "page.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "`MAINSPRING_HOME`" in text
    assert "\n### mainspring data add\n" in text


def test_an_unknown_and_a_missing_block_are_found(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("docs/page.md", "<!-- generated: weather -->\n<!-- end -->\n")
    findings = told(tree.check_blocks(tmp_path))
    assert findings[0].startswith("docs/page.md:1: no block `weather` is known")
    assert "docs: no page has the block `settings`" in findings


def test_a_link_that_leads_nowhere_is_found(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("README.md", "[there](docs/page.md#part) [web](https://example.org/x)\n[gone](docs/lost.md)\n")
    write("docs/page.md", "[up](../README.md)\n")
    assert told(tree.check_links(tmp_path)) == ["README.md:2: `docs/lost.md` is not there"]


def test_a_missing_noun_and_a_missing_table_are_found(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    write("tests/glossary_nouns.txt", "alias\nflux\n")
    write("docs/glossary.md", glossary.replace("`run_provenance`", "provenance"))
    assert told(tree.check_glossary(tmp_path)) == [
        "docs/glossary.md: no line for `flux`",
        "docs/glossary.md: no line names the table `run_provenance` of m0012_add_provenance",
    ]


def test_a_path_and_a_metric_without_docs_are_found(
    tree: ModuleType, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    page = (ROOT / "docs" / "serving.md").read_text()
    write("docs/serving.md", page.replace("`POST /feedback`", "").replace("`model_rows_total`", ""))
    assert told(tree.check_served_paths(tmp_path)) == [
        "docs/serving.md: no line for `POST /feedback`",
        "docs/serving.md: no line for the metric `model_rows_total`",
    ]


def test_a_missing_page_is_a_finding_and_not_a_crash(tree: ModuleType, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert tree.main([], tmp_path) == 1


def test_this_tree_passes(tree: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tree.main([]) == 0, capsys.readouterr().out
