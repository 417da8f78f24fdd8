"""What is older than it may be kept is forgotten; the rest stays and answers as before."""

from datetime import timedelta

import msgspec
import pytest
from tests.predictions.conftest import START, Ground

from mainspring.errors import NotFound
from mainspring.predictions.retention import forget_before

DAY = timedelta(days=1)


def test_old_segments_go_with_their_files_and_an_event(ground: Ground) -> None:
    old, new = ground.asked(3), ground.asked(2, at=START + 10 * DAY)
    ground.write(old)
    ground.seal()
    ground.write(new)
    ground.seal()
    folder = ground.home / "segments"
    assert forget_before(ground.store, folder, START + DAY, dry_run=True) == (1, 3)
    assert len(ground.files()) == 2
    assert forget_before(ground.store, folder, START + DAY) == (1, 3)
    assert ground.files() == ground.named()
    assert len(ground.files()) == 1
    with pytest.raises(NotFound):
        ground.log.find(old.ids[0])
    assert ground.log.find(new.ids[0]).prediction_id == new.ids[0]
    assert forget_before(ground.store, folder, START + DAY) == (0, 0)
    events = [row[0] for row in ground.store.read("SELECT verb FROM events ORDER BY number")]
    assert events == ["predictions.forgotten"]


def test_a_redacted_column_is_not_a_column_of_gaps(ground: Ground) -> None:
    asked = msgspec.structs.replace(ground.asked(2).as_batch(), redacted=["carrier"])
    ground.write(asked)
    ground.seal()
    found = ground.log.find(asked.ids[0])
    assert "carrier" not in found.features
    assert found.features["seats"] is None
