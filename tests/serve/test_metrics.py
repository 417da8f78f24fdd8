"""The text on `/metrics`: bounded, whatever came and went."""

from mainspring.serve.metrics import ServerMetrics


def test_of_many_versions_the_newest_are_told_and_those_that_answer() -> None:
    metrics = ServerMetrics()
    for version in range(1, 501):
        metrics.count("model_requests_total", "m", str(version), "champion", "200")
        metrics.observe("model_queue_seconds", [0.002], "m", str(version))
    metrics.count("model_requests_total", "m", "", "", "422")
    metrics.count("model_requests_total", "other", "3", "champion", "200")
    gauge = (("model", "version", "route"), "Share of the traffic.", [(("m", "7", "champion"), 100.0)])
    text = metrics.text({"model_route_percent": gauge})
    lines = [line for line in text.splitlines() if line.startswith("model_requests_total")]
    versions = {line.partition('version="')[2].partition('"')[0] for line in lines if 'model="m"' in line}
    assert versions == {"", "7", *map(str, range(481, 501))}
    assert sum('model="other"' in line for line in lines) == 1
    assert text.count("model_queue_seconds_count") == 21
    assert metrics.totals("model_requests_total", "m") == 501


def test_a_histogram_adds_up() -> None:
    metrics = ServerMetrics()
    metrics.observe("model_batch_rows", [1.0, 3.0, 5000.0], "m", "1")
    gauge = (("model", "version"), "The versions that answer.", [(("m", "1"), 1.0)])
    text = metrics.text({"model_info": gauge})
    assert 'model_batch_rows_bucket{model="m",version="1",le="1.0"} 1' in text
    assert 'model_batch_rows_bucket{model="m",version="1",le="4.0"} 2' in text
    assert 'model_batch_rows_bucket{model="m",version="1",le="+Inf"} 3' in text
    assert 'model_batch_rows_sum{model="m",version="1"} 5004.0' in text


def test_counters_are_told_from_zero_for_as_long_as_they_are_asked_for() -> None:
    metrics = ServerMetrics()
    flips = "recheck_flips_total"
    assert f'{flips}{{model="m",version="1"}} 0\n' in metrics.text({}, [(flips, "m", "1")])
    metrics.count(flips, "m", "2")
    text = metrics.text({}, [(flips, "m", "2"), (flips, "m", "3")])
    told = {line for line in text.splitlines() if line.startswith(flips)}
    assert told == {f'{flips}{{model="m",version="2"}} 1', f'{flips}{{model="m",version="3"}} 0'}
