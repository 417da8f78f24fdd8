"""Deliveries reach nothing private unless that was allowed, whatever the address looks like."""

import pytest

from mainspring.errors import Invalid, Unavailable
from mainspring.notify.addresses import check_host, connect, target_of


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "ftp://example.org",
        "https://",
        "nonsense",
        "",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://0x7f000001/x",
        "https://2130706433/x",
        "https://localhost:8080",
        "https://LOCALHOST./",
        "https://10.0.0.7",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1",
        "https://[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://0.0.0.0",
        "https://224.0.0.1",
        "https://user:hunter2@example.org",
        "https://example.org:99999",
        "https://example.org/a b",
        "https://example.org/a\nHost: x",
        "https://[x",
    ],
)
def test_what_is_not_a_public_https_address_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        target_of(url, allow_private=False)
    assert "hunter2" not in str(caught.value)


def test_a_public_address_is_taken_apart() -> None:
    target = target_of("https://hooks.example.org:8443/a/b?c=d#e", allow_private=False)
    assert (target.is_secure, target.host, target.port, target.path) == (True, "hooks.example.org", 8443, "/a/b?c=d")
    assert target.authority == "hooks.example.org:8443"
    assert target_of("https://[2606:4700::1]", allow_private=False).authority == "[2606:4700::1]"


def test_what_a_name_resolves_to_is_looked_at_when_it_is_connected_to(receiver, monkeypatch) -> None:
    target = target_of(receiver.url, allow_private=True)
    connect(target, allow_private=True, timeout_seconds=5).close()
    with pytest.raises(Unavailable, match="not a public address"):
        connect(target, allow_private=False, timeout_seconds=5)
    with pytest.raises(Unavailable, match="cannot be reached"):
        connect(target._replace(port=1), allow_private=True, timeout_seconds=5)
    with pytest.raises(Unavailable):
        connect(target._replace(host="no-such-host.invalid"), allow_private=True, timeout_seconds=5)


def test_a_notification_names_no_private_host() -> None:
    for url in ("json://127.0.0.1:80/", "jsons://10.1.2.3", "xml://[::1]/"):
        with pytest.raises(Invalid, match="not a public address"):
            check_host(url, allow_private=False)
        check_host(url, allow_private=True)
    check_host("slack://TokenA/TokenB/TokenC", allow_private=False)
