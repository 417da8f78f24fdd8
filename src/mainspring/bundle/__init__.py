"""The saved-model format: a folder that says what the model eats, what it needs, and the hash of every file in it.

Nouns: *bundle* (the folder), *manifest* (``bundle.json``), *signature* (from the vocabulary), *predictor* (a bundle
that was verified and loaded). Nothing in a bundle is a pickle, and reading one needs no database, server or registry.
Start reading at `format` (write, verify), then `predictor` (load, score), then `estimators` (the scikit-learn bytes);
`explanation` says what each column added to a score. `forms` makes faster forms of a model, certified. `row_rules` are
what the schema of the training table asks of single rows.
"""

from importlib import import_module

__all__ = [
    "BundleFile",
    "BundleManifest",
    "Explanation",
    "Predictor",
    "digest_of",
    "dump_estimator",
    "explain",
    "load_bundle",
    "load_estimator",
    "read_manifest",
    "read_member",
    "signature_from_json",
    "signature_to_json",
    "verify",
    "write_bundle",
]

# Lazy, because the scoring side pulls numpy and the reader of a manifest needs none of it.
_HOMES = {
    "BundleFile": "manifest",
    "BundleManifest": "manifest",
    "Explanation": "explanation",
    "Predictor": "predictor",
    "digest_of": "format",
    "dump_estimator": "estimators",
    "explain": "explanation",
    "load_bundle": "predictor",
    "load_estimator": "estimators",
    "read_manifest": "format",
    "read_member": "format",
    "signature_from_json": "manifest",
    "signature_to_json": "manifest",
    "verify": "format",
    "write_bundle": "format",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
