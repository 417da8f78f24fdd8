"""The five steps as steps of a pipeline, on the local stack."""

from typing import Annotated

import numpy as np
from sklearn.linear_model import LogisticRegression
from zenml import pipeline, step


@step
def load() -> tuple[Annotated[np.ndarray, "x"], Annotated[np.ndarray, "y"]]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return x, y


@step
def split(
    x: np.ndarray, y: np.ndarray
) -> tuple[
    Annotated[np.ndarray, "train"],
    Annotated[np.ndarray, "test"],
    Annotated[np.ndarray, "y_train"],
    Annotated[np.ndarray, "y_test"],
]:
    from sklearn.model_selection import train_test_split

    train, test, y_train, y_test = train_test_split(x, y, random_state=0)
    return train, test, y_train, y_test


@step
def scale(
    train: np.ndarray, test: np.ndarray
) -> tuple[Annotated[np.ndarray, "scaled_train"], Annotated[np.ndarray, "scaled_test"]]:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    scaled_train, scaled_test = scaler.transform(train), scaler.transform(test)
    return scaled_train, scaled_test


@step
def fit(train: np.ndarray, y_train: np.ndarray) -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(train, y_train)


@step
def evaluate(model: LogisticRegression, test: np.ndarray, y_test: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(y_test, model.predict(test)))


@pipeline
def five():
    train, test, y_train, y_test = split(*load())
    train, test = scale(train, test)
    evaluate(fit(train, y_train), test, y_test)


if __name__ == "__main__":
    run = five()
    print("RESULT", run.steps["evaluate"].output.load())
