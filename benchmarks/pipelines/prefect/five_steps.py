"""The five steps as tasks of a flow, with results kept."""

from prefect import flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE

kept = task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)


@kept
def load():
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)


@kept
def split(data):
    from sklearn.model_selection import train_test_split

    return train_test_split(*data, random_state=0)


@kept
def scale(parts):
    from sklearn.preprocessing import StandardScaler

    train, test, y_train, y_test = parts
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), y_train, y_test


@kept
def train(parts):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(parts[0], parts[2])


@kept
def evaluate(model, parts):
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(parts[3], model.predict(parts[1])))


@flow
def five():
    parts = scale(split(load()))
    return evaluate(train(parts), parts)


if __name__ == "__main__":
    print("RESULT", five())
