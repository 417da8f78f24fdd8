"""The five steps as ops of a job, in one process."""

from dagster import job, op


@op
def load():
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)


@op
def split(data):
    from sklearn.model_selection import train_test_split

    return train_test_split(*data, random_state=0)


@op
def scale(parts):
    from sklearn.preprocessing import StandardScaler

    train, test, y_train, y_test = parts
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), y_train, y_test


@op
def train(parts):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(parts[0], parts[2])


@op
def evaluate(model, parts):
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(parts[3], model.predict(parts[1])))


@job
def five():
    parts = scale(split(load()))
    evaluate(train(parts), parts)


if __name__ == "__main__":
    print("RESULT", five.execute_in_process().output_for_node("evaluate"))
