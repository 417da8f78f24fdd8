"""The sealed log under a key: nothing can be read of it, everything is answered, and a key can be changed."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.predictions.conftest import START, Ground

from mainspring.artifacts.copies import copies_of_this_process
from mainspring.artifacts.secret_keys import make_key
from mainspring.data.table import n_rows
from mainspring.errors import Corrupt, Refused
from mainspring.predictions import segments
from mainspring.predictions.segments import encrypt_segments, segments_behind

pytest.importorskip("cryptography", reason="pip install 'mainspring[encryption]'")

MARK = "kingfisher-7f1c"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("MAINSPRING_DECRYPTED", str(tmp_path / "memory"))
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    (tmp_path / "memory").mkdir()
    make_key("one")
    make_key("two")


class _Killed(BaseException):
    """Stands for a kill."""


def fill(ground: Ground, days: Sequence[int]) -> list[str]:
    """Seal a day of four predictions and their labels, each."""
    ids: list[str] = []
    for day in days:
        record = ground.asked(4, at=START + day * DAY, columns={"carrier": [MARK] * 4})
        ground.write(record, ground.labels(record.ids, ["yes"] * 4, at=START + day * DAY))
        ground.seal(START + day * DAY)
        ids += record.ids
    return ids


def answers(ground: Ground, ids: Sequence[str]) -> None:
    assert n_rows(ground.log.window("m", since=START, until=START + 99 * DAY)) == len(ids)
    assert {ground.log.find(each).features["carrier"] for each in (ids[0], ids[-1])} == {MARK}


def lain(ground: Ground) -> list[Path]:
    return sorted(each for each in (ground.home / "segments").iterdir() if each.name != ".lock")


def test_nothing_can_be_read_of_it_and_everything_is_answered(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fill(ground, range(20))  # some were merged
    answers(ground, ids)
    assert [each.name for each in lain(ground)] == ground.named()
    assert not any(MARK.encode() in each.read_bytes() for each in lain(ground))
    assert {each.suffix for each in lain(ground)} == {".encrypted"}


@pytest.mark.parametrize("named", ["", "two"])
def test_nothing_is_sealed_beside_what_lies_under_a_key_that_is_not_named(
    ground: Ground, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(ground, [1])
    lay = lain(ground)
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", named)
    with pytest.raises(Refused, match="is not named"):
        ids += fill(ground, [2])
    assert lain(ground) == lay
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "two,one")
    assert ground.seal() == 8  # the journal waited
    assert n_rows(ground.log.window("m", since=START, until=START + 99 * DAY)) == 8


def test_what_lay_plain_and_under_an_old_key_comes_under_the_new_one(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "")
    ids = fill(ground, range(2))
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    ids += fill(ground, range(2, 4))
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "two,one")
    answers(ground, ids)
    assert segments_behind(ground.home / "segments")
    assert encrypt_segments(ground.store, ground.home / "segments") == 8
    assert not segments_behind(ground.home / "segments")
    assert encrypt_segments(ground.store, ground.home / "segments") == 0
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "two")
    answers(ground, ids)
    assert [each.name for each in lain(ground)] == ground.named()
    assert not any(MARK.encode() in each.read_bytes() for each in lain(ground))


def test_a_change_of_key_that_is_killed_loses_and_doubles_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(ground, range(3))
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "two,one")
    replace = segments.replace
    for is_committed in (False, True):

        def dying(*words: Any, is_committed: bool = is_committed) -> None:  # Any: what `replace` takes
            if is_committed:
                replace(*words)
            raise _Killed

        with monkeypatch.context() as patch:
            patch.setattr(segments, "replace", dying)
            with pytest.raises(_Killed):
                encrypt_segments(ground.store, ground.home / "segments")
        answers(ground, ids)
    ids += fill(ground, [5])  # sweeps what was left
    assert [each.name for each in lain(ground)] == ground.named()
    answers(ground, ids)


def test_a_missing_key_and_damage_are_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fill(ground, [1])
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "two")
    with pytest.raises(Refused, match="is not named"):
        answers(ground, ids)
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    for path in lain(ground):
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        copies_of_this_process().forget(path.name)
    with pytest.raises(Corrupt, match="damaged"):
        answers(ground, ids)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_sealer_that_dies_leaves_nothing_readable_behind(
    ground: Ground, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.write(*(ground.asked(4, at=START, columns={"carrier": [MARK] * 4}, model=each) for each in ("m", "n")))
    written, done = segments.write_segment, list[int]()

    def dying(*words: Any) -> Path:  # Any: what `write_segment` takes
        path = written(*words)
        done.append(1)
        if len(done) == nth:
            raise _Killed
        return path

    with monkeypatch.context() as patch:
        patch.setattr(segments, "write_segment", dying)
        with pytest.raises(_Killed):
            ground.seal()
    assert len(lain(ground)) == nth
    assert not any(MARK.encode() in each.read_bytes() for each in lain(ground))
    assert ground.seal() == 8
    assert [each.name for each in lain(ground)] == ground.named()
