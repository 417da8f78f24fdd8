"""The control server's process: one process on one socket, until it is told to end."""

import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable

import uvicorn

from mainspring.access.login import Login
from mainspring.access.oidc import Issuer
from mainspring.access.users import list_users
from mainspring.config import value_of
from mainspring.domain.moments import parse_duration
from mainspring.errors import Invalid, MainspringError
from mainspring.notify.courier import Courier
from mainspring.pipeline.scheduler import Scheduler
from mainspring.recording.run import send_left_behind
from mainspring.serve.listening import listening_sockets
from mainspring.server.app import ControlApp
from mainspring.server.artifact_root import OWN_TREE, ArtifactRoot
from mainspring.tracking.experiments import place_default
from mainspring.workspace import Workspace

__all__ = ["run_server"]

_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 20


def run_server(
    workspace: Workspace,
    *,
    host: str,
    port: int,
    ready: Callable[[str], None],
    needs_login: bool = False,
    artifact_root: str = "",
    runs_schedules: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered. `ready` is told the URL once it listens.

    What is due of the store's schedules is run beside it, each tick in a process of its own, if it `runs_schedules`.
    New experiments keep their files below `artifact_root`, an address that clients reach; empty: in the server's tree.

    Raises:
        Invalid: the host is reachable from outside and no login is asked for, or nobody could log in; no such root.
        Unavailable: the port is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    root = ArtifactRoot.named(artifact_root)
    login = login_of(workspace, needs_login=needs_login)
    if root.location != OWN_TREE:
        workspace.store.record(lambda transaction: place_default(transaction, root.location))
    (listener,) = listening_sockets(host, port, is_guarded=needs_login)
    app = ControlApp(workspace, login, root)
    threading.Thread(target=_send_left_behind, args=(workspace,), name="run-log-rest", daemon=True).start()
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
    courier = Courier(workspace.store, workspace.clock, allow_private=value_of("webhooks_private") == "on")
    scheduler = Scheduler(workspace.store, workspace.clock, workspace.home, lease=parse_duration(value_of("lease")))
    courier.start()
    if runs_schedules:
        scheduler.start()
    # what is here now stays: the collector need not look through it again and again while requests come and go
    gc.collect()
    gc.freeze()
    # the store's writer gives up its turn at every statement, and would wait Python's 5 ms for the loop to give it back
    sys.setswitchinterval(0.001)
    # uvicorn ends on SIGTERM in order, and then raises it once more: what stands behind it here would not be done
    signal.signal(signal.SIGTERM, lambda *_: None)
    ready(f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}")
    try:
        server.run(sockets=[listener])
    finally:
        scheduler.stop()
        courier.stop()
        app.close()
        listener.close()


def _send_left_behind(workspace: Workspace) -> None:
    """Keep what runs of this workspace logged and were killed before it was kept."""
    try:
        send_left_behind(workspace.home)
    except MainspringError as error:
        logging.getLogger(__name__).warning("What killed runs left behind stays for the next start: %s", error)


def login_of(workspace: Workspace, *, needs_login: bool) -> Login:
    """Return what lets requests into a workspace; its tables are made or mended before anybody can ask.

    Raises:
        Invalid: a login is asked for, and there is nobody who could.
    """
    issuer = None
    if url := value_of("oidc_issuer"):
        issuer = Issuer(
            url,
            audience=value_of("oidc_audience"),
            name_claim=value_of("oidc_name_claim"),
            roles_claim=value_of("oidc_roles_claim"),
        )
    if needs_login and issuer is None and not list_users(workspace.store):
        raise Invalid(
            "A login would be asked for, and there is no user yet",
            where="--login",
            next_step="mainspring users create NAME --role admin",
        )
    return Login(workspace.store, owner=workspace.actor, is_required=needs_login, issuer=issuer, clock=workspace.clock)
