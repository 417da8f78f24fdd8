"""The prediction server's process: parts to a server, and an orderly end.

It ends at SIGTERM or SIGINT, or with its parent when it was told to: requests under way are answered, shadows are
finished, the journal is closed. `supervisor` runs several of them on one port, `process` starts it from elsewhere.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from mainspring.bundle.format import read_manifest
from mainspring.config import value_of
from mainspring.domain.moments import clock_of
from mainspring.errors import MissingExtra
from mainspring.predictions.journal import JournalWriter
from mainspring.serve.access_log import AccessLog
from mainspring.serve.app import PredictionApp
from mainspring.serve.broken_rules import check_use
from mainspring.serve.budget import Budget
from mainspring.serve.connections import protocol_for, sweep
from mainspring.serve.endpoint import Endpoints
from mainspring.serve.guard import Guard
from mainspring.serve.keeping import Keeping
from mainspring.serve.listening import listening_sockets, url_of
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.numbers import Numbers
from mainspring.serve.options import Options
from mainspring.serve.process import end_with_parent, write_ready
from mainspring.serve.recheck import Recheck
from mainspring.serve.routes import Route, RouteTable
from mainspring.serve.service import PredictionService

if TYPE_CHECKING:
    from mainspring.serve.lookup import ServedViews
    from mainspring.serve.spans import Spans

__all__ = ["run_server"]

_JOURNAL_NAME = "predictions"
#: An idle client is kept this long. Behind most proxies' minute, so that they hang up first and lose no request.
_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 20
_STARTED_POLL_SECONDS = 0.005
_SWEEP_SECONDS = 0.5
_SWITCH_SECONDS = 0.001


def run_server(options: Options) -> int:
    """Serve until told to end; return the exit code.

    Raises:
        MainspringError: it could not start.
    """
    # A slow model's thread and the event loop take turns at the interpreter; by default one may wait 5 ms for its turn.
    sys.setswitchinterval(_SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(options))


async def _serve(options: Options) -> int:
    if options.listen_fd is None:
        (listener,) = listening_sockets(options.host, options.port, is_guarded=options.keys is not None)
    else:
        listener = socket.socket(fileno=options.listen_fd)
    url = url_of(listener, is_secure=options.tls_certificate is not None)
    numbers = Numbers(options.numbers)
    metrics = ServerMetrics(numbers)
    guard = None if options.keys is None else Guard(options.keys, options.share)
    access_log = None if options.access_log is None else AccessLog(options.access_log)
    budget = None if options.models_memory_bytes is None else Budget(options.models_memory_bytes)
    views = _views(options.views) if options.views else None
    fixed = [_fixed_table(folder) for folder in options.bundles]
    endpoints = Endpoints(options.endpoints, metrics, fixed, budget, views, check_use(options.row_rules))
    version = metadata.version("mainspring")
    calls: Any = None  # a gRPC server, without types
    keeping = Keeping(options.log_share, options.redact)
    with JournalWriter(options.journals, name=_JOURNAL_NAME, rotate_bytes=options.rotate_bytes) as journal:
        service = PredictionService(
            endpoints,
            journal,
            metrics,
            clock_of(value_of("clock")),
            longest_wait_seconds=options.longest_wait_seconds,
            answer_unlogged=options.answer_unlogged,
            guard=guard,
            access_log=access_log,
            recheck=Recheck(options.recheck, metrics) if options.recheck > 0 else None,
            keeping=keeping,
            spans=None if options.traces is None else _spans(options.traces, options.trace_share, version),
        )
        app = PredictionApp(service, endpoints, metrics, version=version, body_limit=options.body_limit, guard=guard)
        config = uvicorn.Config(
            app,
            http=protocol_for(service, app.prediction_paths.find, options.body_limit),
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ssl_certfile=options.tls_certificate,
            ssl_keyfile=options.tls_key,
        )
        server = uvicorn.Server(config)
        _end_at_signals(server)
        if options.exit_with_parent:
            end_with_parent(lambda: setattr(server, "should_exit", True), 2 * _GRACE_SECONDS)
        if options.listen_fd is not None:
            # A worker's connections wait at its socket, so it takes none before it can answer.
            await endpoints.load_fixed()
            await endpoints.look()
        if options.grpc_port is not None:
            calls = await _start_grpc(options, service, endpoints, guard, version)
        following = asyncio.create_task(_follow(endpoints, keeping, views, server, url, options.ready_file))
        sweeping = asyncio.create_task(_sweep(server, options.request_seconds, service, numbers, guard, access_log))
        try:
            await server.serve([listener])
        finally:
            following.cancel()
            sweeping.cancel()
            await asyncio.wait([following, sweeping])
            if calls is not None:
                await calls.stop(_GRACE_SECONDS)
            endpoints.close()
            await service.close()
            listener.close()
            if access_log is not None:
                access_log.close()
    with contextlib.suppress(asyncio.CancelledError):
        following.result()  # why it ended by itself, if it did
    return 0


def _views(names: Sequence[str]) -> "ServedViews":
    from mainspring.serve.lookup import ServedViews  # a database and its client, which most servers do without

    return ServedViews.open(names)


def _spans(collector: str, share: float, version: str) -> "Spans":
    try:
        from mainspring.serve.spans import Spans  # optional
    except ImportError as error:
        raise MissingExtra.of("otel", "opentelemetry-sdk", "Sending traces") from error
    return Spans(collector, share, version)


async def _start_grpc(
    options: Options, service: PredictionService, endpoints: Endpoints, guard: Guard | None, version: str
) -> Any:  # a gRPC server, without types
    try:
        from mainspring.serve.grpc_server import start_grpc  # optional, and 20 MB that most servers do without
    except ImportError as error:
        raise MissingExtra.of("grpc", "grpcio", "Answering over gRPC") from error
    return await start_grpc(options, service, endpoints, guard, version)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # compiled, and not to be had on every system
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _follow(
    endpoints: Endpoints,
    keeping: Keeping,
    views: "ServedViews | None",
    server: uvicorn.Server,
    url: str,
    ready_file: Path | None,
) -> None:
    """Load what there is, say that the server is ready, and follow the routes from then on."""
    try:
        if not endpoints.has_looked:
            await endpoints.load_fixed()
            await endpoints.look()
        keeping.check(endpoints.columns() | (set() if views is None else views.keys))
        if views is not None:
            views.check(endpoints.columns())
    except BaseException:
        server.should_exit = True
        raise
    while not server.started and not server.should_exit:
        await asyncio.sleep(_STARTED_POLL_SECONDS)  # uvicorn has no event for it
    logging.getLogger(__name__).info("serving at %s", url)
    if ready_file is not None:
        write_ready(ready_file, url)
    await endpoints.follow()


async def _sweep(
    server: uvicorn.Server,
    request_seconds: float,
    service: PredictionService,
    numbers: Numbers,
    guard: Guard | None,
    access_log: AccessLog | None,
) -> None:
    """Close slow connections, show signs of life, and see to keys and the access log."""
    while True:
        numbers.beat(service.running_seconds())
        await asyncio.sleep(_SWEEP_SECONDS)
        sweep(server.server_state, request_seconds, _KEEP_ALIVE_SECONDS)
        if guard is not None:
            guard.look()
        if access_log is not None:
            access_log.flush()


def _fixed_table(folder: Path) -> RouteTable:
    manifest = read_manifest(folder)
    return RouteTable(manifest.name, 1, (Route(1, str(folder.absolute()), "champion", 100.0),))


def _end_at_signals(server: uvicorn.Server) -> None:
    # uvicorn takes these over while it serves and raises them once more behind it; then and before, they land here.
    def end(number: int, frame: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
