"""The control server's process: one process on one socket, until it is told to end."""

import logging
import sys
from collections.abc import Callable

import uvicorn

from mainspring.serve.main import listening_socket
from mainspring.server.app import ControlApp
from mainspring.workspace import Workspace

__all__ = ["run_server"]

_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 20


def run_server(workspace: Workspace, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered. `ready` is told the URL once it listens.

    Raises:
        Invalid: the host is reachable from outside.
        Unavailable: the port is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    listener = listening_socket(host, port)
    app = ControlApp(workspace)
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    address, number = listener.getsockname()[:2]
    _ = workspace.store  # tables are made or mended before anybody can ask
    ready(f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}")
    try:
        server.run(sockets=[listener])
    finally:
        app.close()
        listener.close()
