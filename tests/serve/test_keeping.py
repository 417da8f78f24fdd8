"""What the log takes when it is told not to take everything."""

from typing import Any

import pytest

from mainspring.errors import Unavailable
from mainspring.serve.client import PredictionClient


def test_a_share_of_the_requests_is_kept_and_the_rest_is_counted(site: Any, flight: dict[str, object]) -> None:
    site.route((1, "champion", 100.0), (2, "shadow", 100.0))
    asked = 300
    with site.start("--log-share", "0.3") as server, PredictionClient(server.url) as client:
        answers = [client.predict("late-flights", [flight, flight]) for _ in range(asked)]
        metrics = client.metrics()
    given = {each.id for answer in answers for each in answer.predictions}
    records = site.records()
    kept = {
        route: {one for each in records if each.route == route for one in each.ids} for route in ("champion", "shadow")
    }
    assert kept["champion"] <= given
    assert 0.15 * 2 * asked < len(kept["champion"]) < 0.45 * 2 * asked  # beyond five standard deviations either side
    assert kept["shadow"] == kept["champion"]
    (left,) = [line for line in metrics.splitlines() if line.startswith("prediction_log_left_out_total{")]
    assert float(left.split()[-1]) >= asked - len(kept["champion"]) / 2  # the shadow's own may still be on their way


def test_a_redacted_column_is_never_written(site: Any, flight: dict[str, object]) -> None:
    site.route((1, "champion", 100.0))
    with site.start("--redact", "carrier") as server, PredictionClient(server.url) as client:
        score = client.predict("late-flights", [{**flight, "carrier": "B6"}]).predictions[0].score
        other = client.predict("late-flights", [{**flight, "carrier": "UA"}]).predictions[0].score
    assert score != other  # the model saw it
    for record in site.records():
        assert sorted(record.columns) == ["departed_at", "distance", "weekend"]
    assert not any(b"B6" in path.read_bytes() for path in site.journals.iterdir() if path.is_file())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--redact", "carier"], "No model here has a column `carier`"),
        (["--log-share", "1.5"], "1.5 is no share of requests"),
    ],
)
def test_what_would_not_be_kept_as_meant_is_told_at_the_start(site: Any, options: list[str], said: str) -> None:
    site.route((1, "champion", 100.0))
    with pytest.raises(Unavailable) as told:
        site.start(*options)
    assert said in str(told.value)
