"""The store in a container of Azure Blob Storage, against Microsoft's own emulator, where it is installed."""

import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.artifacts.bucket import Bucket
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.remote import RemoteArtifactStore
from mainspring.domain.ids import Digest
from mainspring.testing.artifact_store import ArtifactStoreSuite

pytest.importorskip("obstore", reason="pip install 'mainspring[s3]'")
_AZURITE = shutil.which("azurite-blob")
pytestmark = pytest.mark.skipif(_AZURITE is None, reason="no emulator of Azure here: npm install --global azurite")

# The emulator has one account, whose name and key its documentation names; libraries look for it at this port.
_ACCOUNT, _PORT = "devstoreaccount1", 10000
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_CONTAINER = "models"


def _make_container() -> None:
    """Ask for a container, signed by the account's key (Azure Storage REST: Authorize with Shared Key)."""
    date = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} GMT"
    head = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in head.items())]
    text = "\n".join([*lines, f"/{_ACCOUNT}/{_ACCOUNT}/{_CONTAINER}", "restype:container"])
    signed = base64.b64encode(hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{_PORT}/{_ACCOUNT}/{_CONTAINER}?restype=container",
        method="PUT",
        headers={**head, "Authorization": f"SharedKey {_ACCOUNT}:{signed}", "Content-Length": "0"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("azure")
    words = ["--blobPort", str(_PORT), "--location", str(folder), "--silent", "--skipApiVersionCheck"]
    assert _AZURITE is not None
    with socket.socket() as one:
        if one.connect_ex(("127.0.0.1", _PORT)) == 0:
            pytest.skip(f"port {_PORT} is taken")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([_AZURITE, *words, "--disableTelemetry"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while b"successfully listens" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        _make_container()
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(autouse=True)
def _settings(emulator: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")


class TestAzure(ArtifactStoreSuite):
    def open_store(self, place: Path) -> ArtifactStore:
        return RemoteArtifactStore(f"az://{_CONTAINER}/{place.parent.name}", place.with_name("cache"))

    def damage(self, store: ArtifactStore, digest: Digest) -> None:
        assert isinstance(store, RemoteArtifactStore)
        data = store.read_bytes(digest)
        store.bucket.put(f"objects/{digest[:2]}/{digest[2:]}", data[:-1] + bytes([data[-1] ^ 1]))
        store.cache.path_of(digest).unlink()


def test_a_container_is_what_we_need_of_a_bucket() -> None:
    assert Bucket(f"az://{_CONTAINER}/probed").probe() < 5
