"""Fits a zoo of scikit-learn models, and when run as a program prints the hash of each one's bytes.

Two runs with different hash seeds must print the same.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from mainspring.bundle.estimators import dump_estimator


def _folds() -> dict[str, Any]:
    """Return how TargetEncoder is told of folds that are the same each time: by itself since scikit-learn 1.9."""
    return {"cv": KFold(3)} if sklearn.__version__ >= "1.9" else {"cv": 3, "random_state": 0}


def table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = 160
    x = pd.DataFrame(
        {
            "a": rng.normal(size=rows),
            "b": rng.integers(0, 9, rows),
            "c": pd.Series(rng.choice(["x", "y", "z"], rows), dtype="str"),
        }
    )
    late = np.where(x.b + rng.normal(size=rows) > 4, "late", "ok")
    x.loc[::17, "a"] = np.nan
    x.loc[::13, "c"] = None
    return x, late


def _encoded(estimator: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return make_pipeline(
        ColumnTransformer([("n", numbers, ["a", "b"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["c"])]), estimator
    )


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "logistic": LogisticRegression,
    "forest": lambda: RandomForestClassifier(4, random_state=0),
    "extra_trees": lambda: ExtraTreesClassifier(3, random_state=0),
    "tree": lambda: DecisionTreeClassifier(max_depth=3, random_state=0),
    "gradient_boosting": lambda: GradientBoostingClassifier(n_estimators=3, random_state=0),
    "hist_boosting": lambda: HistGradientBoostingClassifier(max_iter=4, random_state=0),
    "ada_boost": lambda: AdaBoostClassifier(n_estimators=2, random_state=0),
    "bagging": lambda: BaggingClassifier(n_estimators=2, max_features=0.5, random_state=0),
    "isolation": lambda: IsolationForest(n_estimators=3, max_features=0.5, random_state=0),
    "dummy": DummyClassifier,
    "bayes": GaussianNB,
    "svc": lambda: CalibratedClassifierCV(SVC(), cv=2),
    "sigmoid": lambda: CalibratedClassifierCV(LogisticRegression(), cv=2),
    "isotonic": lambda: CalibratedClassifierCV(RandomForestClassifier(2, random_state=0), method="isotonic", cv=2),
    "voting": lambda: VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
    "stacking": lambda: StackingClassifier([("a", LogisticRegression())], cv=2),
    "sgd": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "mlp": lambda: MLPClassifier((5,), solver="lbfgs", max_iter=15000, alpha=10, random_state=0),
    "poly": lambda: make_pipeline(PolynomialFeatures(), LogisticRegression(max_iter=5000)),
    "bins": lambda: make_pipeline(KBinsDiscretizer(3, strategy="uniform"), LogisticRegression()),
    "pca": lambda: make_pipeline(PCA(2, random_state=0), LogisticRegression()),
    "best": lambda: make_pipeline(SelectKBest(k=2), LogisticRegression()),
    "quantile": lambda: make_pipeline(QuantileTransformer(n_quantiles=10, random_state=0), LogisticRegression()),
    "power": lambda: make_pipeline(PowerTransformer(), LogisticRegression()),
    "knn_impute": lambda: make_pipeline(KNNImputer(), RobustScaler(), LogisticRegression()),
    "ufunc": lambda: make_pipeline(FunctionTransformer(np.abs), LogisticRegression()),
}


def fitted() -> dict[str, tuple[Any, Any]]:
    """Return every model by name, with what it scores."""
    x, late = table()
    models: dict[str, tuple[Any, Any]] = {}
    for name, make in ESTIMATORS.items():
        models[name] = (_encoded(make()).fit(x, late), x)
    numbers = x[["b"]]
    models["ridge"] = (Ridge().fit(numbers, x.b * 2.0), numbers)
    models["linear_array"] = (LinearRegression().fit(numbers.to_numpy(), x.b * 2.0), numbers.to_numpy())
    models["dummy_regressor"] = (DummyRegressor().fit(numbers, x.b), numbers)
    models["forest_regressor"] = (RandomForestRegressor(2, random_state=0).fit(numbers, x.b), numbers)
    models["boosted_regressor"] = (HistGradientBoostingRegressor(max_iter=2, random_state=0).fit(numbers, x.b), numbers)
    models["grid"] = (GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(numbers, late), numbers)
    # The search times its fits, which no format can make equal.
    for kind in ("fit", "score"):
        for what in ("mean", "std"):
            models["grid"][0].cv_results_[f"{what}_{kind}_time"][:] = 0
    models["grid"][0].refit_time_ = 0.0
    words = x.c.fillna("none").map(lambda word: f"{word} foo bar")
    models["tfidf"] = (make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(words, late), words)
    models["counts"] = (
        make_pipeline(CountVectorizer(stop_words=["foo"]), LogisticRegression()).fit(words, late),
        words,
    )
    frame = x[["b", "c"]].fillna({"c": "none"})
    models["ordinal"] = (
        make_pipeline(OrdinalEncoder(), DecisionTreeClassifier(random_state=0)).fit(frame, late),
        frame,
    )
    models["target"] = (
        make_pipeline(TargetEncoder(**_folds()), LogisticRegression()).fit(frame, late),
        frame,
    )
    categories = x[["a", "c"]].astype({"c": "category"})
    boosted = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype", random_state=0)
    models["categories"] = (boosted.fit(categories, late), categories)
    selected = ColumnTransformer(
        [("n", "passthrough", make_column_selector(dtype_include=np.number))], remainder=OneHotEncoder()
    )
    models["selector"] = (make_pipeline(selected, DecisionTreeClassifier(random_state=0)).fit(frame, late), frame)
    return models


if __name__ == "__main__":
    for name, (model, _) in fitted().items():
        print(name, hashlib.sha256(dump_estimator(model)).hexdigest())
