"""The estimators every candidate must stand beside: one that ignores the input, a linear one, a shallow tree.

A model that does not beat them is not worth its upkeep (ML Test Score, test Model 5: a simpler model is not better;
Breck et al. 2017).
"""

from typing import Any

from mainspring.domain.signature import Signature
from mainspring.errors import MissingExtra

__all__ = ["baselines", "default_candidates"]


def baselines(signature: Signature) -> dict[str, Any]:
    """Return unfitted baselines for the task, simplest first.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    _require_sklearn()
    from sklearn.dummy import DummyClassifier, DummyRegressor  # extra: ml
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if signature.task == "regression":
        return {
            "dummy": DummyRegressor(),
            "linear": make_pipeline(_encoded(signature), Ridge()),
            "shallow_tree": make_pipeline(_encoded(signature), DecisionTreeRegressor(max_depth=4, random_state=0)),
        }
    return {
        "dummy": DummyClassifier(strategy="prior"),
        "linear": make_pipeline(_encoded(signature), LogisticRegression(max_iter=500)),
        "shallow_tree": make_pipeline(_encoded(signature), DecisionTreeClassifier(max_depth=4, random_state=0)),
    }


def default_candidates(signature: Signature) -> dict[str, Any]:
    """Return what is tried when nobody names an estimator: boosted trees, which need no tuning to be decent."""
    _require_sklearn()
    from sklearn.compose import make_column_transformer  # extra: ml
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    text, numbers = _by_kind(signature)
    encoded = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1), text),
        ("passthrough", numbers),
    )
    boosted = HistGradientBoostingRegressor if signature.task == "regression" else HistGradientBoostingClassifier
    return {"boosted_trees": make_pipeline(encoded, boosted(max_iter=150, learning_rate=0.06, random_state=0))}


def _encoded(signature: Signature) -> Any:  # a ColumnTransformer; the library carries no types
    from sklearn.compose import make_column_transformer  # extra: ml
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    text, numbers = _by_kind(signature)
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", min_frequency=10), text),
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
    )


def _by_kind(signature: Signature) -> tuple[list[str], list[str]]:
    text = [column.name for column in signature.columns if column.type == "string"]
    numbers = [column.name for column in signature.columns if column.type in ("number", "integer", "boolean")]
    return text, numbers


def _require_sklearn() -> None:
    try:
        import sklearn  # noqa: F401  # extra: ml
    except ImportError as error:
        raise MissingExtra.of("ml", "scikit-learn", "Training") from error
