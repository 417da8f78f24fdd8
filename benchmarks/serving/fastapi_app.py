"""A model behind FastAPI, as one writes it by hand: a typed body, a synchronous function, pandas."""

import os
import pickle
from pathlib import Path

import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, create_model

model, fields = pickle.loads(Path(os.environ["MODEL"]).read_bytes())
Row = create_model("Row", **{name: (kind, ...) for name, kind in fields.items()})


class Body(BaseModel):
    """The request."""

    rows: list[Row]


app = FastAPI()


@app.post("/predict")
def predict(body: Body) -> dict[str, list[float]]:
    """Score the rows."""
    frame = pd.DataFrame([row.model_dump() for row in body.rows])
    return {"scores": model.predict_proba(frame)[:, 1].tolist()}
