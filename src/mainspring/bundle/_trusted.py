"""The types a saved model may be made of, beyond those skops trusts by itself. Exact names, read one by one.

A name on this list may be called by a crafted file with any arguments, so it must be harmless in every call: value
classes of scikit-learn, and functions that only compute. Prefixes would let in whatever a module happens to import.
Left out on purpose: KDTree, BallTree and BSpline, whose compiled code trusts the indices in the file.
"""

__all__ = ["TRUSTED_TYPES"]

_BY_MODULE = {
    # `partial` only stores what it is given; HistGradientBoosting wraps `check_array` with it.
    "functools": ("partial",),
    # The models of these two are read by compiled code that trusts them; `_audit` checks them whole before.
    "collections": ("OrderedDict",),
    "lightgbm.basic": ("Booster",),
    "lightgbm.sklearn": ("LGBMClassifier", "LGBMRegressor"),
    "xgboost.core": ("Booster",),
    "xgboost.sklearn": ("XGBClassifier", "XGBRegressor"),
    "numpy": ("dtype", "number"),
    "scipy._lib.array_api_compat.numpy._aliases": ("asarray",),
    "sklearn.calibration": ("_CalibratedClassifier", "_SigmoidCalibration"),
    "sklearn.compose._column_transformer": ("_RemainderColsList", "make_column_selector"),
    "sklearn.feature_selection._univariate_selection": ("chi2", "f_classif", "f_regression", "r_regression"),
    "sklearn.feature_selection._mutual_info": ("mutual_info_classif", "mutual_info_regression"),
    "sklearn.metrics._classification": ("balanced_accuracy_score",),
    "sklearn.metrics._scorer": ("_CurveScorer", "_PassthroughScorer", "_Scorer"),
    "sklearn.model_selection._split": (
        "GroupKFold",
        "KFold",
        "RepeatedKFold",
        "RepeatedStratifiedKFold",
        "ShuffleSplit",
        "StratifiedKFold",
        "StratifiedShuffleSplit",
        "TimeSeriesSplit",
    ),
    "sklearn.neural_network._stochastic_optimizers": ("AdamOptimizer", "SGDOptimizer"),
    "sklearn.utils._bunch": ("Bunch",),
    "sklearn.utils._metadata_requests": ("MetadataRequest", "MethodMetadataRequest"),
    "sklearn.utils.validation": ("check_array",),
    # skops leaves these two out because their node indices are not checked by scikit-learn; `_audit` checks them.
    "sklearn.ensemble._hist_gradient_boosting.predictor": ("TreePredictor",),
    "sklearn.tree._tree": ("Tree",),
}

TRUSTED_TYPES = frozenset(f"{module}.{name}" for module, names in _BY_MODULE.items() for name in names)
