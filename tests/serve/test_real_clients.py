"""Unmodified clients of others, each from its own environment, get the answers of the model's own `predict_proba`.

Name the environments' Pythons to run them: MAINSPRING_TRITON_PYTHON has ``tritonclient[http,grpc]``,
MAINSPRING_KSERVE_PYTHON ``kserve``, and MAINSPRING_MLFLOW_PYTHON ``mlflow``.
"""

import json
import os
import subprocess
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from tests.serve.conftest import flights, free_port

from mainspring.bundle.estimators import load_estimator
from mainspring.serve.process import ServerProcess

pytestmark = pytest.mark.slow

#: Read before the tests' own environment is made, in which no such variable stands.
PYTHONS = {each: os.environ.get(f"MAINSPRING_{each}_PYTHON") for each in ("TRITON", "KSERVE", "MLFLOW")}

READ = """
import json, sys
import numpy as np
url, rows = sys.argv[1], json.load(sys.stdin)
KINDS = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
def arrays(inputs):
    for each in inputs:
        values = [row[each["name"]] for row in rows]
        yield each["name"], each["datatype"], np.array(values, dtype=KINDS[each["datatype"]])
"""

TRITON = """
import tritonclient.http as triton
with triton.InferenceServerClient(url) as client:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("late-flights")
    found = []
    for binary in (False, True):
        inputs = []
        for name, kind, values in arrays(client.get_model_metadata("late-flights")["inputs"]):
            inputs.append(triton.InferInput(name, values.shape, kind))
            inputs[-1].set_data_from_numpy(values, binary_data=binary)
        wanted = [triton.InferRequestedOutput("score", binary_data=binary)]
        found.append(client.infer("late-flights", inputs, outputs=wanted).as_numpy("score").tolist())
print(json.dumps(found))
"""

TRITON_GRPC = """
import tritonclient.grpc as triton
with triton.InferenceServerClient(url) as client:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("late-flights")
    inputs = []
    described = client.get_model_metadata("late-flights", as_json=True)["inputs"]
    for name, kind, values in arrays(described):
        inputs.append(triton.InferInput(name, values.shape, kind))
        inputs[-1].set_data_from_numpy(values)
    wanted = [triton.InferRequestedOutput("score")]
    found = [client.infer("late-flights", inputs, outputs=wanted).as_numpy("score").tolist()]
    found.append(client.infer("late-flights", inputs).as_numpy("score").tolist())
print(json.dumps(found))
"""

KSERVE = """
import asyncio
import urllib.request
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    base = f"http://{url}"
    assert await client.is_server_ready(base) and await client.is_model_ready(base, "late-flights")
    with urllib.request.urlopen(f"{base}/v2/models/late-flights") as told:
        described = json.load(told)["inputs"]
    found = []
    for binary in (False, True):
        inputs = []
        for name, kind, values in arrays(described):
            inputs.append(InferInput(name, list(values.shape), kind))
            inputs[-1].set_data_from_numpy(values, binary_data=binary)
        answer = await client.infer(base, InferRequest("late-flights", inputs), model_name="late-flights")
        (score,) = [each for each in answer.outputs if each.name == "score"]
        found.append(score.as_numpy().tolist())
    print(json.dumps(found))
asyncio.run(main())
"""

MLFLOW = """
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
host, port = url.split(":")
client = ScoringServerClient(host, int(port))
client.wait_server_ready(timeout=20)
answer = client.invoke(pd.DataFrame(rows), params={"predict_method": "predict_proba"})
print(json.dumps([[each[1] for each in answer.get_predictions().to_numpy().tolist()]]))
"""


@pytest.mark.parametrize("client", [*PYTHONS, "TRITON_GRPC"])
def test_a_client_of_others_gets_the_models_own_probabilities(client: str, shared_site: Any, tmp_path: Any) -> None:
    over_grpc = client == "TRITON_GRPC"
    client = client.removesuffix("_GRPC")
    python = PYTHONS[client]
    if python is None:
        pytest.skip(f"name a Python that has the client: MAINSPRING_{client}_PYTHON")
    frame, _ = flights(50, seed=9)
    model = load_estimator((shared_site.bundles[1] / "model.skops").read_bytes())
    expected = model.predict_proba(frame)[:, 1]
    rows = frame.assign(departed_at=frame.departed_at.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")).to_dict("records")
    script = READ + (TRITON_GRPC if over_grpc else {"TRITON": TRITON, "KSERVE": KSERVE, "MLFLOW": MLFLOW}[client])
    grpc_port = free_port()
    options = ["--grpc-port", str(grpc_port)] if over_grpc else []
    bundles = [shared_site.bundles[1]]
    with ServerProcess.start(None, tmp_path / "journals", bundles=bundles, options=options) as server:
        address = f"127.0.0.1:{grpc_port}" if over_grpc else urlsplit(server.url).netloc
        done = subprocess.run(
            [python, "-c", script, address], input=json.dumps(rows), capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for found in json.loads(done.stdout.splitlines()[-1]):
        np.testing.assert_array_equal(found, expected)
