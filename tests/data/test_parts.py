"""Folders for the parts of a result are held by one call at a time."""

import fcntl
from pathlib import Path

import pytest

from mainspring.data import parts
from mainspring.data.parts import fresh_folder, parts_folder
from mainspring.errors import Conflict


@pytest.mark.parametrize("others", [0, 1])
def test_a_folder_that_another_call_removed_before_it_was_held_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    target, folder = tmp_path / "out.csv", tmp_path / ".out.csv.parts"
    lock, calls = fcntl.flock, []

    def late(handle: int, kind: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            folder.rename(tmp_path / "gone")
            if others:
                folder.mkdir()
        lock(handle, kind)

    monkeypatch.setattr(parts.fcntl, "flock", late)
    with fresh_folder(target) as held:
        assert held.is_dir()
        assert len(calls) == 2
        with pytest.raises(Conflict, match="Another call is writing"), parts_folder(target):
            pass
    assert not folder.exists()
