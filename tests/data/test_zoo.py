"""A zoo of hostile files: each is read rightly or refused with a clear error; none crashes, hangs or escapes."""

import gzip
import json
import os
import struct
from pathlib import Path

import duckdb
import pytest

from mainspring.cli.main import main

GOOD = "a,b,c\n1,x,2.5\n2,y,3.5\n"
COMMANDS = (("profile",), ("schema",), ("add", "--name", "zoo"))

#: What is refused: name to bytes, and a piece of what is said.
REFUSED: dict[str, tuple[bytes, str]] = {
    "latin1.csv": ("a,b\n1,café\n".encode("latin-1"), "not utf-8"),
    "mixed.csv": (b"a,b\n1,caf\xc3\xa9\n2,caf\xe9\n", "Line: 3"),
    "utf16.csv": (GOOD.encode("utf-16"), "cannot be read"),
    "unclosed.csv": (b'a,b\n1,"x\n2,y\n3,z\n', "Line: 2"),
    "ragged.csv": (b"a,b\n1,2\n1,2,3\n", "Line: 3"),
    "longline.csv": (b"a,b\n1," + b"x" * (4 << 20) + b"\n", "Line: 1"),
    "longline.jsonl": (b'{"a":1,"b":"' + b"x" * (36 << 20) + b'"}\n', "a JSON record 16 MB"),
    "longhead.csv": (b"a," + b"x" * (4 << 20) + b"\n1,2\n", "may be 2 MB long"),
    "nested.jsonl": (b'{"a":' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}\n", "recursion depth"),
    "cut.jsonl": (b'{"a":1}\n{"a":', "Malformed JSON"),
    "text.parquet": (GOOD.encode(), "No magic bytes"),
    "zeros.parquet": (b"PAR1" + bytes(100) + b"PAR1", "Footer length"),
    "junk.csv.gz": (b"\x1f\x8b" + b"junk" * 50, "GZIP"),
    "cut.csv.gz": (gzip.compress(GOOD.encode() * 50_000)[:600], "GZIP"),
    "empty.csv": (b"", "is empty"),
}


def _parquet(folder: Path) -> bytes:
    duckdb.sql(f"COPY (SELECT range AS a FROM range(1000)) TO '{folder / 'whole.parquet'}'")
    return (folder / "whole.parquet").read_bytes()


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def said(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capfd.readouterr()
    code = main(["data", *words])
    told = capfd.readouterr()
    assert "Internal error" not in told.err
    assert "Traceback" not in told.err
    return code, told.out + told.err


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_every_command(zoo: Path, capfd, name: str) -> None:
    content, reason = REFUSED[name]
    (zoo / name).write_bytes(content)
    for command, *options in COMMANDS:
        code, told = said(capfd, command, name, *options)
        assert code in (2, 3), (command, told)
        assert reason in told, (command, told)
        assert name in told
        assert len(told) < 2500
        assert "SELECT" not in told
    assert main(["data", "list", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == []


@pytest.mark.parametrize("break_at", ["half", "footer length", "footer"])
def test_a_parquet_file_with_a_wrong_footer_is_refused(zoo: Path, capfd, break_at: str) -> None:
    whole = _parquet(zoo)
    broken = {
        "half": whole[: len(whole) // 2],
        "footer length": whole[:-8] + struct.pack("<I", 0xFFFFFFFF) + b"PAR1",
        "footer": whole[:-8] + struct.pack("<I", 4) + b"PAR1",
    }[break_at]
    (zoo / "broken.parquet").write_bytes(broken)
    for command, *options in COMMANDS:
        code, told = said(capfd, command, "broken.parquet", *options)
        assert (code, "cannot be read" in told) == (2, True), told


@pytest.mark.parametrize("name", ["we*ird[1].csv", "quo'te.csv", "new\nline.csv", "-dash.csv", "ünï.csv", "a;DROP.csv"])
def test_a_strange_name_is_a_name_and_nothing_else(zoo: Path, capfd, name: str) -> None:
    (zoo / name).write_text(GOOD)
    (zoo / "weXird1.csv").write_text("other\n1\n")  # what a pattern would find
    for command, *options in COMMANDS:
        code, told = said(capfd, command, f"./{name}", *options)
        assert code == 0, told
        assert "other" not in told


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder", "nothing"])
def test_what_is_no_file_is_not_waited_for(zoo: Path, capfd, kind: str) -> None:
    path = zoo / "x.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to("x.csv")
    elif kind == "folder":
        path.mkdir()
    for command, *options in COMMANDS:
        code, told = said(capfd, command, "x.csv", *options)
        assert code in (2, 3), told


def test_a_small_file_that_swells_is_looked_at_without_the_memory_for_it(zoo: Path, capfd) -> None:
    with gzip.open(zoo / "bomb.csv.gz", "wb", 9) as file:
        file.write(b"a\n")
        for _ in range(40):
            file.write(b"0\n" * (1 << 19))
    assert (zoo / "bomb.csv.gz").stat().st_size < 100_000
    code, told = said(capfd, "profile", "bomb.csv.gz")
    assert code == 0, told
    assert "20,971,520" in told


def test_formulas_and_markup_in_cells_stay_text(zoo: Path, capfd) -> None:
    (zoo / "cells.csv").write_text("a,b\n=cmd|' /C calc'!A0,<script>alert(1)</script>\n@SUM(1),x\n")
    code, told = said(capfd, "profile", "cells.csv", "--html", "cells.html", "--json")
    assert code == 0, told
    page = (zoo / "cells.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
