"""The five steps as stages of a repository, each a command that reads and writes files. Without words: `dvc repro`."""

import pickle
import subprocess
import sys
from pathlib import Path

STAGES = {
    "load": ((), "data.pkl"),
    "split": (("data.pkl",), "split.pkl"),
    "scale": (("split.pkl",), "parts.pkl"),
    "train": (("parts.pkl",), "model.pkl"),
    "evaluate": (("model.pkl", "parts.pkl"), "accuracy.pkl"),
}


def load():
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)


def split(data):
    from sklearn.model_selection import train_test_split

    return train_test_split(*data, random_state=0)


def scale(parts):
    from sklearn.preprocessing import StandardScaler

    train, test, y_train, y_test = parts
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), y_train, y_test


def train(parts):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(parts[0], parts[2])


def evaluate(model, parts):
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(parts[3], model.predict(parts[1])))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        needs, made = STAGES[sys.argv[1]]
        values = [pickle.loads(Path(each).read_bytes()) for each in needs]
        Path(made).write_bytes(pickle.dumps(globals()[sys.argv[1]](*values)))
    else:
        if not Path(".dvc").exists():
            subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
            lines = ["stages:"]
            for name, (needs, made) in STAGES.items():
                lines += [f"  {name}:", f"    cmd: {sys.executable} five_steps.py {name}", "    deps:"]
                lines += [f"      - {each}" for each in ("five_steps.py", *needs)] + ["    outs:", f"      - {made}"]
            Path("dvc.yaml").write_text("\n".join([*lines, ""]))
        subprocess.run(["dvc", "repro", "--quiet"], check=True)
        print("RESULT", pickle.loads(Path("accuracy.pkl").read_bytes()))
