"""The Open Inference Protocol v2 over gRPC, beside HTTP: the same models, queues, log, keys and errors.

A call becomes a request of the service as an HTTP body does, so that nothing of batching, canaries or the log is done
twice. Refusals carry the code that gRPC has for their HTTP status.
Source: Open Inference Protocol, specification/protocol/inference_grpc.md.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import msgspec

from mainspring.errors import Invalid, MainspringError, Unavailable
from mainspring.serve.answers import check_outputs, infer_answer
from mainspring.serve.asking import Ask, Question, Received
from mainspring.serve.endpoint import Endpoints, LoadedVersion
from mainspring.serve.grpc_messages import MESSAGES, SERVICE
from mainspring.serve.guard import Guard
from mainspring.serve.limits import MOST_TABLE_ROWS, check_size
from mainspring.serve.metadata import model_metadata, server_metadata
from mainspring.serve.options import Options
from mainspring.serve.problems import Problem, reply_of
from mainspring.serve.reply import Reply
from mainspring.serve.service import PredictionService
from mainspring.serve.tensors import by_column, tensor_from_bytes, tensor_to_bytes
from mainspring.serve.wire import Tensor, WantedOutput

__all__ = ["GrpcDialect", "start_grpc"]

_Handler = Callable[[Any, Any], Awaitable[Any]]  # a message and the call's context, which have no types
#: gRPC's code for the HTTP status of a refusal (gRPC over HTTP/2, "HTTP to gRPC status code mapping", and our own).
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


class GrpcDialect:
    """``ModelInfer``: one tensor for each column, as typed contents or as raw bytes."""

    is_slow = False

    def request_id(self, body: bytes) -> str | None:
        """See `Dialect.request_id`."""
        return MESSAGES["ModelInferRequest"].FromString(body).id or None

    def read(self, version: LoadedVersion, received: Received, body: bytes) -> Question:
        """See `Dialect.read`."""
        request = MESSAGES["ModelInferRequest"].FromString(body)
        inputs = _tensors(request)
        check_size(max((each.shape[0] for each in inputs if each.shape), default=0), "rows", MOST_TABLE_ROWS)
        wanted = [WantedOutput(each.name) for each in request.outputs] or None
        check_outputs(version.decoder.signature, wanted)
        decoded = version.decoder.tensors(by_column(inputs, version.decoder.signature.columns))
        return Question(
            request.id or None, decoded.where, decoded.rows(), wanted=(wanted, bool(request.raw_input_contents))
        )

    def answer(self, ask: Ask) -> Reply:
        """See `Dialect.answer`."""
        wanted, is_raw = ask.question.wanted
        answer = infer_answer(ask, wanted)
        made = MESSAGES["ModelInferResponse"](
            model_name=answer.model_name, model_version=answer.model_version, id=answer.id or ""
        )
        made.parameters["prediction_ids"].string_param = ",".join(ask.ids)
        made.parameters["trace_id"].string_param = ask.trace_id
        made.parameters["route"].string_param = ask.route.role
        made.parameters["warnings"].int64_param = sum(ask.warning_counts.values())
        for output in answer.outputs:
            tensor = made.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
            data: Any = output.data
            if is_raw:
                made.raw_output_contents.append(tensor_to_bytes(output.datatype, data))
            else:
                values = [each.encode() for each in data] if output.datatype == "BYTES" else data
                getattr(tensor.contents, _CONTENTS[output.datatype]).extend(values)
        return Reply(made.SerializeToString())


def _tensors(request: Any) -> list[Tensor]:  # a ModelInferRequest
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Invalid(
            f"{len(raw)} raw contents for {len(request.inputs)} inputs",
            where="raw_input_contents",
            next_step="send all inputs raw, or none",
        )
    tensors = []
    for at, each in enumerate(request.inputs):
        tensor = Tensor(each.name, list(each.shape), each.datatype)
        where = f"inputs[{at}]"
        if raw:
            data = tensor_from_bytes(tensor, raw[at], where)
        elif each.datatype in _CONTENTS:
            data = [_missing_or(value, where) for value in getattr(each.contents, _CONTENTS[each.datatype])]
        else:
            raise Invalid(f"There is no datatype {each.datatype}", where=f"{where}.datatype")
        tensors.append(msgspec.structs.replace(tensor, data=data))
    return tensors


def _missing_or(value: Any, where: str) -> object:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise Invalid(f"A string is not UTF-8: {error}", where=where) from error
    return None if value != value else value  # protobuf has no null; NaN is the usual gap


class _Servicer:
    def __init__(self, service: PredictionService, endpoints: Endpoints, guard: Guard | None, version: str) -> None:
        self._service = service
        self._endpoints = endpoints
        self._guard = guard
        self._version = version
        self._dialect = GrpcDialect()

    def handlers(self) -> dict[str, _Handler]:
        return {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._server,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model,
            "ModelInfer": self._infer,
        }

    async def _live(self, request: Any, context: Any) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=self._endpoints.is_ready)

    async def _server(self, request: Any, context: Any) -> Any:
        self._admit(context)
        return MESSAGES["ServerMetadataResponse"](**server_metadata(self._version))

    async def _model_ready(self, request: Any, context: Any) -> Any:
        self._admit(context)
        endpoint = self._endpoints.find(request.name)
        if endpoint.active is not None:
            model_metadata(endpoint, request.version or None)
        return MESSAGES["ModelReadyResponse"](ready=bool(endpoint.active or endpoint.cold))

    async def _model(self, request: Any, context: Any) -> Any:
        self._admit(context)
        await self._endpoints.warm(request.name)
        told: dict[str, Any] = model_metadata(self._endpoints.find(request.name), request.version or None)
        made = MESSAGES["ModelMetadataResponse"](
            name=told["name"], versions=told["versions"], platform=told["platform"]
        )
        for side in ("inputs", "outputs"):
            for each in told[side]:
                getattr(made, side).add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        return made

    async def _infer(self, request: Any, context: Any) -> Any:
        headers = _headers(context)
        remaining = context.time_remaining()
        if remaining is not None and remaining < 1e6:
            headers[b"x-timeout-ms"] = str(max(1, int(1000 * remaining))).encode()
        received = Received(request.model_name, request.model_version or None, headers, time.perf_counter())
        reply = await self._service.answer(received, self._dialect, request.SerializeToString())
        if reply.status != 200:
            await _refuse(context, reply)
        return MESSAGES["ModelInferResponse"].FromString(reply.body)

    def _admit(self, context: Any) -> None:
        if self._guard is not None:
            self._guard.admit(_headers(context), "read")


def _headers(context: Any) -> dict[bytes, bytes]:
    given = context.invocation_metadata() or ()
    return {str(key).lower().encode(): value if isinstance(value, bytes) else value.encode() for key, value in given}


async def _refuse(context: Any, reply: Reply) -> None:
    problem = msgspec.json.decode(reply.body, type=Problem)
    told = [problem.detail, *(f"{each.where}: {each.what}" for each in problem.errors)]
    if problem.where and not problem.errors:
        told[0] += f" (at {problem.where})"
    if problem.next:
        told.append(f"Next: {problem.next}")
    await context.abort(_CODES.get(problem.status, grpc.StatusCode.INTERNAL), "\n".join(told))


def _told(handler: _Handler) -> _Handler:
    async def call(request: Any, context: Any) -> Any:
        try:
            return await handler(request, context)
        except MainspringError as error:
            await _refuse(context, reply_of(error))

    return call


async def start_grpc(
    options: Options, service: PredictionService, endpoints: Endpoints, guard: Guard | None, version: str
) -> Any:  # a grpc.aio.Server
    """Listen for gRPC beside HTTP, at the same address and under the same keys and certificate.

    Raises:
        Unavailable: the port is taken.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", options.body_limit),
            ("grpc.so_reuseport", int(options.workers > 1 or options.share > 1)),
        ]
    )
    calls = {
        name: grpc.unary_unary_rpc_method_handler(
            _told(handler),
            request_deserializer=MESSAGES[f"{name}Request"].FromString,
            response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
        )
        for name, handler in _Servicer(service, endpoints, guard, version).handlers().items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, calls),))
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"{host}:{options.grpc_port}"
    try:
        if options.tls_certificate is None:
            server.add_insecure_port(address)
        else:
            key = options.tls_key or options.tls_certificate
            pair = (key.read_bytes(), options.tls_certificate.read_bytes())
            server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError as error:
        raise Unavailable(
            f"Port {options.grpc_port} cannot be taken for gRPC", where="--grpc-port", next_step="use another"
        ) from error
    await server.start()
    return server
