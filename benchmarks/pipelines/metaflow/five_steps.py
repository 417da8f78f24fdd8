"""The five steps of a flow. Run without words, it runs itself."""

import sys

from metaflow import FlowSpec, step


class Five(FlowSpec):
    @step
    def start(self):
        from sklearn.datasets import load_breast_cancer

        self.data = load_breast_cancer(return_X_y=True)
        self.next(self.split)

    @step
    def split(self):
        from sklearn.model_selection import train_test_split

        self.parts = train_test_split(*self.data, random_state=0)
        self.next(self.scale)

    @step
    def scale(self):
        from sklearn.preprocessing import StandardScaler

        train, test, y_train, y_test = self.parts
        scaler = StandardScaler().fit(train)
        self.parts = scaler.transform(train), scaler.transform(test), y_train, y_test
        self.next(self.train)

    @step
    def train(self):
        from sklearn.linear_model import LogisticRegression

        self.model = LogisticRegression(max_iter=1000).fit(self.parts[0], self.parts[2])
        self.next(self.end)

    @step
    def end(self):
        from sklearn.metrics import accuracy_score

        print("RESULT", float(accuracy_score(self.parts[3], self.model.predict(self.parts[1]))))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.argv += ["--quiet", "--no-pylint", "run"]
    Five()
