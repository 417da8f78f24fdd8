"""Who may ask: keys, scopes, rates, TLS; and what the access log says of it."""

import http.client
import json
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mainspring.errors import Conflict, Denied, Invalid, NotFound
from mainspring.serve.guard import Guard, add_key, read_keys
from mainspring.serve.listening import listening_sockets
from mainspring.serve.problems import HttpRefusal, Overloaded

Eventually = Callable[[Callable[[], Any]], Any]


def ask(url: str, path: str, body: Any = None, key: str = "", **more: Any) -> tuple[int, dict[str, str], Any]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=30, **more)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    got = {name.lower(): value for name, value in response.getheaders()}
    return response.status, got, json.loads(content) if "json" in got["content-type"] else content


def test_a_key_is_good_for_its_scopes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "shop", ["predict:churn", "feedback"], None).encode()
    assert key not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    guard = Guard(path)
    for headers in ({b"authorization": b"Bearer " + key}, {b"authorization": b"bearer  " + key}, {b"x-api-key": key}):
        assert guard.admit(headers, "predict", "churn") == "shop"
        assert guard.admit(headers, "feedback") == "shop"
        with pytest.raises(Denied, match="not good for `predict:fraud`"):
            guard.admit(headers, "predict", "fraud")
        with pytest.raises(Denied):
            guard.admit(headers, "read")
    for headers in ({}, {b"authorization": b"Bearer wrong"}, {b"x-api-key": b""}):
        with pytest.raises(HttpRefusal) as caught:
            guard.admit(headers, "predict", "churn")
        assert caught.value.status == 401


def test_a_key_has_a_rate_of_which_each_worker_grants_its_share(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    headers = {b"x-api-key": add_key(path, "shop", ["predict:*"], 0.5).encode()}
    guard = Guard(path, workers=2)
    guard.admit(headers, "predict", "churn")
    with pytest.raises(Overloaded, match="faster than it may") as caught:
        guard.admit(headers, "predict", "churn")
    assert 3 < caught.value.wait_seconds <= 4


def test_keys_are_followed_and_a_broken_file_leaves_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = {b"x-api-key": add_key(path, "a", ["read"], None).encode()}
    guard = Guard(path)
    second = {b"x-api-key": add_key(path, "b", ["read"], None).encode()}
    guard.look()
    assert (guard.admit(first, "read"), guard.admit(second, "read")) == ("a", "b")
    path.write_text("{")
    guard.look()
    assert guard.admit(first, "read") == "a"
    path.write_text('{"keys": []}')
    guard.look()
    with pytest.raises(HttpRefusal):
        guard.admit(first, "read")


def test_a_file_of_keys_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(NotFound):
        read_keys(path)
    with pytest.raises(Invalid, match="no scope"):
        add_key(path, "a", ["everything"], None)
    add_key(path, "a", ["read"], None)
    with pytest.raises(Conflict):
        add_key(path, "a", ["read"], None)
    path.write_text(json.dumps({"keys": json.loads(path.read_text())["keys"] * 2}))
    with pytest.raises(Invalid, match="one name"):
        Guard(path)


def test_only_a_guarded_server_listens_beyond_this_machine() -> None:
    with pytest.raises(Invalid, match="anybody could ask"):
        listening_sockets("0.0.0.0", 0)
    with listening_sockets("0.0.0.0", 0, is_guarded=True)[0] as listener:
        assert listener.getsockname()[1]


def test_a_guarded_server_asks_for_keys_everywhere_but_at_its_health(
    site: Any, flight: dict[str, object], tmp_path: Path, eventually: Eventually
) -> None:
    keys, log = tmp_path / "keys.json", tmp_path / "access.jsonl"
    site.route((1, "champion", 100.0))
    predict = "/models/late-flights/predict"
    shop = add_key(keys, "shop", ["predict:late-flights"], None)
    ops = add_key(keys, "ops", ["read"], None)
    with site.start("--keys", str(keys), "--access-log", str(log)) as server:
        assert ask(server.url, "/v2/health/ready")[0] == 200
        for path, body in {predict: [flight], "/metrics": None, "/": None, "/models/late-flights": None}.items():
            status, headers, problem = ask(server.url, path, body)
            assert (status, headers["www-authenticate"], problem["code"]) == (401, "Bearer", "unauthenticated")
        assert ask(server.url, "/models/nobody/predict", [flight])[0] == 401  # not told what is served here
        status, _, answer = ask(server.url, predict, [flight], shop)
        assert status == 200
        assert ask(server.url, predict, [flight], ops)[0] == 403
        assert ask(server.url, "/metrics", key=shop)[0] == 403
        assert ask(server.url, "/metrics", key=ops)[0] == 200
        assert ask(server.url, "/feedback", {"model": "late-flights", "labels": []}, shop)[0] == 403
        lines = eventually(lambda: len(log.read_bytes().splitlines()) >= 4 and log.read_text().splitlines())
        told = [json.loads(line) for line in lines]
        (well,) = [line for line in told if line["status"] == 200]
        assert (well["consumer"], well["rows"], well["version"]) == ("shop", 1, "1")
        assert well["trace_id"] == answer["trace_id"]
        assert shop not in log.read_text()


def test_a_server_answers_over_tls(site: Any, flight: dict[str, object], tmp_path: Path) -> None:
    certificate, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*made, "-keyout", private, "-out", certificate], check=True, capture_output=True)
    site.route((1, "champion", 100.0))
    trusted = ssl.create_default_context(cafile=str(certificate))
    with site.start("--tls-certificate", str(certificate), "--tls-key", str(private)) as server:
        assert server.url.startswith("https://")
        status, _, answer = ask(server.url, "/models/late-flights/predict", [flight], context=trusted)
        assert (status, answer["version"]) == (200, 1)
        assert ask(server.url, "/v2/health/live", context=trusted)[0] == 200
