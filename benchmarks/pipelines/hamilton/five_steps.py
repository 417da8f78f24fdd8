"""The five steps as nodes, wired by the names of their parameters."""

from typing import Any


def data() -> Any:
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)


def split(data: Any) -> Any:
    from sklearn.model_selection import train_test_split

    return train_test_split(*data, random_state=0)


def parts(split: Any) -> Any:
    from sklearn.preprocessing import StandardScaler

    train, test, y_train, y_test = split
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), y_train, y_test


def model(parts: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(parts[0], parts[2])


def accuracy(model: Any, parts: Any) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(parts[3], model.predict(parts[1])))


if __name__ == "__main__":
    import five_steps
    from hamilton import driver

    made = driver.Builder().with_modules(five_steps).with_cache(path=".hamilton").build()
    print("RESULT", made.execute(["accuracy"])["accuracy"])
