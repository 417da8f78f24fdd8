"""Open Inference over gRPC: the answers, the log, the keys and the errors are those of HTTP."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serve.conftest import FLIGHT, free_port

from mainspring.serve.client import PredictionClient
from mainspring.serve.guard import add_key

grpc = pytest.importorskip("grpc", reason="pip install 'mainspring[grpc]'")
from mainspring.serve.grpc_messages import MESSAGES, SERVICE  # noqa: E402  # behind the check above

COLUMNS = (
    ("distance", "FP64", "fp64_contents"),
    ("carrier", "BYTES", "bytes_contents"),
    ("departed_at", "BYTES", "bytes_contents"),
    ("weekend", "BOOL", "bool_contents"),
)


class Client:
    """Speaks the protocol by the descriptors alone."""

    def __init__(self, channel: Any, *metadata: tuple[str, str]) -> None:
        self._channel = channel
        self._metadata = metadata

    def call(self, name: str, request: Any = None, *, seconds: float = 20) -> Any:
        ask = self._channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=MESSAGES[f"{name}Request"].SerializeToString,
            response_deserializer=MESSAGES[f"{name}Response"].FromString,
        )
        return ask(request or MESSAGES[f"{name}Request"](), timeout=seconds, metadata=self._metadata)


def asked(rows: list[dict[str, Any]], *, model: str = "late-flights", request_id: str = "") -> Any:
    request = MESSAGES["ModelInferRequest"](model_name=model, id=request_id)
    for name, datatype, contents in COLUMNS:
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[len(rows)])
        values = [row[name].encode() if datatype == "BYTES" else row[name] for row in rows]
        getattr(tensor.contents, contents).extend(values)
    return request


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def served(site: Any, port: int) -> Iterator[tuple[Client, PredictionClient]]:
    site.route((1, "champion", 100.0))
    with (
        site.start("--grpc-port", str(port)) as server,
        PredictionClient(server.url) as over_http,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Client(channel), over_http


def test_the_answer_is_that_of_http_and_is_in_the_log(site: Any, served: tuple[Client, PredictionClient]) -> None:
    client, over_http = served
    rows = [FLIGHT, {**FLIGHT, "carrier": "B6", "distance": 4000.0, "weekend": True}]
    answer = client.call("ModelInfer", asked(rows, request_id="r-1"))
    expected = over_http.predict("late-flights", rows)
    outputs = {each.name: each for each in answer.outputs}
    assert list(outputs["score"].contents.fp64_contents) == [each.score for each in expected.predictions]
    assert [each.decode() for each in outputs["label"].contents.bytes_contents] == [
        each.label for each in expected.predictions
    ]
    assert (answer.model_version, answer.id, answer.parameters["route"].string_param) == ("1", "r-1", "champion")
    first = site.records()[0]
    assert (first.request_id, first.ids) == ("r-1", answer.parameters["prediction_ids"].string_param.split(","))


def test_raw_contents_are_answered_raw(served: tuple[Client, PredictionClient]) -> None:
    client, over_http = served
    request = MESSAGES["ModelInferRequest"](model_name="late-flights")
    texts = [FLIGHT["carrier"].encode(), FLIGHT["departed_at"].encode()]
    raw = [
        np.array([FLIGHT["distance"]]).tobytes(),
        *(len(text).to_bytes(4, "little") + text for text in texts),
        b"\x00",
    ]
    for (name, datatype, _), content in zip(COLUMNS, raw, strict=True):
        request.inputs.add(name=name, datatype=datatype, shape=[1])
        request.raw_input_contents.append(content)
    request.outputs.add(name="score")
    answer = client.call("ModelInfer", request)
    assert [each.name for each in answer.outputs] == ["score"]
    (score,) = np.frombuffer(answer.raw_output_contents[0], "<f8")
    assert score == over_http.predict("late-flights", [FLIGHT]).predictions[0].score


def test_what_the_server_and_the_model_say_of_themselves(served: tuple[Client, PredictionClient]) -> None:
    client, _ = served
    assert client.call("ServerLive").live
    assert client.call("ServerReady").ready
    assert client.call("ServerMetadata").name == "mainspring"
    named = MESSAGES["ModelReadyRequest"](name="late-flights")
    assert client.call("ModelReady", named).ready
    told = client.call("ModelMetadata", MESSAGES["ModelMetadataRequest"](name="late-flights"))
    assert [(each.name, each.datatype) for each in told.inputs] == [(name, kind) for name, kind, _ in COLUMNS]
    assert [each.name for each in told.outputs] == ["score", "label"]


def _broken(change: str) -> Any:
    request = asked([FLIGHT, FLIGHT])
    if change == "model":
        request.model_name = "late-flihgts"
    elif change == "missing":
        del request.inputs[0]
    elif change == "value":
        request.inputs[2].contents.bytes_contents[1] = b"tomorrow"
    elif change == "utf8":
        request.inputs[1].contents.bytes_contents[0] = b"\xff"
    elif change == "type":
        request.inputs[0].datatype = "FP128"
    elif change == "raw":
        request.raw_input_contents.append(b"1")
    elif change == "output":
        request.outputs.add(name="scores")
    elif change == "version":
        request.model_version = "9"
    return request


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("model", "NOT_FOUND", "late-flights"),
        ("missing", "INVALID_ARGUMENT", "the column `distance` is missing"),
        ("value", "INVALID_ARGUMENT", "inputs[2].data[1]"),
        ("utf8", "INVALID_ARGUMENT", "not UTF-8"),
        ("type", "INVALID_ARGUMENT", "There is no datatype FP128"),
        ("raw", "INVALID_ARGUMENT", "1 raw contents for 4 inputs"),
        ("output", "INVALID_ARGUMENT", "no output `scores`"),
        ("version", "NOT_FOUND", "versions that do: 1"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    served: tuple[Client, PredictionClient], change: str, code: str, said: str
) -> None:
    client, _ = served
    with pytest.raises(grpc.RpcError) as told:
        client.call("ModelInfer", _broken(change))
    assert (told.value.code().name, said in told.value.details()) == (code, True), told.value.details()


def test_a_key_is_asked_for_as_over_http(site: Any, port: int, tmp_path: Path) -> None:
    site.route((1, "champion", 100.0))
    keys = tmp_path / "keys.json"
    key = add_key(keys, "shop", ["predict:late-flights"], None)
    with (
        site.start("--grpc-port", str(port), "--keys", str(keys)),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        for metadata, code in (((), "UNAUTHENTICATED"), ((("authorization", "Bearer no"),), "UNAUTHENTICATED")):
            with pytest.raises(grpc.RpcError) as told:
                Client(channel, *metadata).call("ModelInfer", asked([FLIGHT]))
            assert told.value.code().name == code
        holder = Client(channel, ("authorization", f"Bearer {key}"))
        assert len(holder.call("ModelInfer", asked([FLIGHT])).outputs) == 2
        with pytest.raises(grpc.RpcError) as told:  # the key is good for predictions alone
            holder.call("ServerMetadata")
        assert told.value.code().name == "PERMISSION_DENIED"


def test_many_at_once_on_two_workers_each_get_their_own(site: Any, port: int) -> None:
    site.route((1, "champion", 100.0))
    wrong: list[object] = []
    with site.start("--grpc-port", str(port), "--workers", "2") as server, PredictionClient(server.url) as over_http:
        rows = [{**FLIGHT, "distance": 100.0 * number} for number in range(1, 41)]
        expected = [each.score for each in over_http.predict("late-flights", rows).predictions]

        def ask(start: int) -> None:
            with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
                for number in range(start, len(rows), 8):
                    answer = Client(channel).call("ModelInfer", asked([rows[number]]))
                    if list(answer.outputs[0].contents.fp64_contents) != [expected[number]]:
                        wrong.append(number)

        asking = [threading.Thread(target=ask, args=(start,)) for start in range(8)]
        for each in asking:
            each.start()
        for each in asking:
            each.join(30)
    assert not wrong
    assert sum(len(each.ids) for each in site.records()) == 2 * len(rows)
