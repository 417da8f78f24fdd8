"""What a prediction server is started with: words to options, checked before anything heavy is imported."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mainspring.errors import Invalid

__all__ = ["Options", "options_of"]

_MIB = 1 << 20


class Options(NamedTuple):
    """The options of a server; those of a worker are set by its supervisor."""

    journals: Path
    endpoints: Path | None
    bundles: tuple[Path, ...]
    host: str
    port: int
    ready_file: Path | None
    exit_with_parent: bool
    rotate_bytes: int
    body_limit: int
    request_seconds: float
    longest_wait_seconds: float
    recheck: int
    answer_unlogged: bool
    workers: int
    worker_memory_bytes: int | None
    stuck_seconds: float
    listen_fd: int | None
    numbers: Path | None
    keys: Path | None
    share: int
    access_log: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    log_share: float
    redact: tuple[str, ...]
    models_memory_bytes: int | None
    grpc_port: int | None
    traces: str | None
    trace_share: float
    views: tuple[str, ...]
    row_rules: str


def options_of(arguments: Sequence[str]) -> Options:
    """Read the command line.

    Raises:
        Invalid: there is nothing to serve, or an option is out of its range.
    """
    parser = argparse.ArgumentParser(prog="python -m mainspring.serve", description="Answer for models over HTTP.")
    parser.add_argument("bundles", nargs="*", type=Path, help="bundle folders to serve as they are")
    parser.add_argument("--endpoints", type=Path, help="folder of route files to follow")
    parser.add_argument("--journals", type=Path, required=True, help="folder to write answers to")
    parser.add_argument("--host", default="127.0.0.1", help="address of this machine to listen at")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="written, with pid, port and url, when the server answers")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when standard input closes")
    parser.add_argument("--rotate-bytes", type=int, default=64 * _MIB, help="size of a finished journal")
    parser.add_argument("--body-limit", type=int, default=16 * _MIB, help="largest request body in bytes")
    parser.add_argument("--request-seconds", type=float, default=30.0, help="seconds for a request to arrive whole")
    parser.add_argument("--longest-wait", type=float, default=5.0, help="seconds in the queue that are refused")
    parser.add_argument("--recheck", type=int, default=1000, help="one in so many answers is scored again; 0: none")
    parser.add_argument("--answer-unlogged", action="store_true", help="answer even when the journal cannot be written")
    parser.add_argument("--workers", type=int, default=1, help="processes that answer on the one port")
    parser.add_argument("--worker-memory", type=int, help="MiB of memory at which a worker is replaced")
    parser.add_argument(
        "--stuck-seconds", type=float, default=30.0, help="seconds for a batch before a worker is ended"
    )
    parser.add_argument("--keys", type=Path, help="file of API keys; without one, everybody on this machine may ask")
    parser.add_argument("--access-log", type=Path, help="file for one JSON line a prediction request")
    parser.add_argument("--tls-certificate", type=Path, help="certificate chain in PEM, to answer over HTTPS")
    parser.add_argument("--tls-key", type=Path, help="its private key in PEM")
    parser.add_argument("--log-share", type=float, default=1.0, help="share of the requests that the log takes")
    parser.add_argument("--redact", action="append", default=[], help="a column that the log does not take")
    parser.add_argument("--models-memory", type=int, help="MiB for models, which are then loaded on demand")
    parser.add_argument("--grpc-port", type=int, help="port for Open Inference over gRPC, at the same address")
    parser.add_argument("--traces", help="URL of an OpenTelemetry collector (OTLP over HTTP)")
    parser.add_argument("--trace-share", type=float, default=0.01, help="share of the requests that are traced")
    parser.add_argument("--view", action="append", default=[], help="NAME/VERSION of a view to look features up in")
    parser.add_argument(
        "--row-rules", choices=["obey", "flag", "off"], default="obey",
        help="rows that break the model's schema: as its rules say, answered and flagged, or not looked at",
    )  # fmt: skip
    parser.add_argument("--share", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--listen-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--numbers", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    options = Options(
        journals=given.journals,
        endpoints=given.endpoints,
        bundles=tuple(given.bundles),
        host=given.host,
        port=given.port,
        ready_file=given.ready_file,
        exit_with_parent=given.exit_with_parent,
        rotate_bytes=given.rotate_bytes,
        body_limit=given.body_limit,
        request_seconds=given.request_seconds,
        longest_wait_seconds=given.longest_wait,
        recheck=given.recheck,
        answer_unlogged=given.answer_unlogged,
        workers=given.workers,
        worker_memory_bytes=None if given.worker_memory is None else given.worker_memory * _MIB,
        stuck_seconds=given.stuck_seconds,
        listen_fd=given.listen_fd,
        numbers=given.numbers,
        keys=given.keys,
        share=given.share,
        access_log=given.access_log,
        tls_certificate=given.tls_certificate,
        tls_key=given.tls_key,
        log_share=given.log_share,
        redact=tuple(given.redact),
        views=tuple(given.view),
        grpc_port=given.grpc_port,
        traces=given.traces,
        trace_share=given.trace_share,
        row_rules=given.row_rules,
        models_memory_bytes=None if given.models_memory is None else given.models_memory * _MIB,
    )
    if options.endpoints is None and not options.bundles:
        raise Invalid("There is nothing to serve", next_step="give bundle folders, or --endpoints with route files")
    if options.tls_key is not None and options.tls_certificate is None:
        raise Invalid("A private key alone is no identity", where="--tls-key", next_step="give --tls-certificate too")
    if not 0 <= options.log_share <= 1:
        raise Invalid(f"{options.log_share} is no share of requests", where="--log-share", next_step="give 0 to 1")
    if not 0 <= options.trace_share <= 1:
        raise Invalid(f"{options.trace_share} is no share of requests", where="--trace-share", next_step="give 0 to 1")
    if options.workers < 1:
        raise Invalid(f"{options.workers} workers cannot answer", where="--workers", next_step="give 1 or more")
    return options
