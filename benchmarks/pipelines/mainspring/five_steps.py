"""The five steps as steps of a pipeline."""

from typing import Any, NamedTuple

import mainspring as ms
from mainspring.workspace import Workspace


class Parts(NamedTuple):
    train: Any
    test: Any
    y_train: Any
    y_test: Any


@ms.step
def load() -> tuple[Any, Any]:
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)


@ms.step
def split(data: tuple[Any, Any]) -> Parts:
    from sklearn.model_selection import train_test_split

    return Parts(*train_test_split(*data, random_state=0))


@ms.step
def scale(parts: Parts) -> Parts:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(parts.train)
    return Parts(scaler.transform(parts.train), scaler.transform(parts.test), parts.y_train, parts.y_test)


@ms.step
def train(parts: Parts) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(parts.train, parts.y_train)


@ms.step
def evaluate(model: Any, parts: Parts) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(parts.y_test, model.predict(parts.test)))


@ms.pipeline
def five() -> float:
    parts = scale(split(load()))
    return evaluate(train(parts), parts)


if __name__ == "__main__":
    with Workspace() as workspace:
        print("RESULT", five.run(workspace.pipeline_context).value)
