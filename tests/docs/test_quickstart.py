"""The quickstart works as it is written: every shell block is run, in order, in one empty folder."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"
#: What a block must have printed, by its number.
PRINTED = {
    0: ["opened an incident: live loss", "suggested retraining for churn/1", "champion  ready", "became champion"],
    1: ['"version":1', '"route":"champion"', '"score":'],
    2: ["Serving churn at http://", " passed in "],
}


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_script_has_fifteen_lines() -> None:
    script = re.findall(r"<<'END'\n(.*?)^END", blocks()[0], re.DOTALL | re.MULTILINE)[0]
    assert len([line for line in script.splitlines() if line]) == 15


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page asks the server with curl")
def test_the_commands_do_what_the_page_says(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    folder = tmp_path
    for number, block in enumerate(blocks()):
        script = "set -eu\n" + block.replace("8000", port).replace("up loop.py", "up loop.py --port 0")
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        told = done.stdout + done.stderr
        assert done.returncode == 0, told
        for wanted in PRINTED[number]:
            assert wanted in told, told
        folder = tmp_path / "churn"
