"""scikit-learn estimators and pipelines to bytes and back, without pickle.

`dump_estimator` gives the same bytes for the same fitted model in any process; `load_estimator` builds only types that
were read and found harmless, so that a model file cannot run code. skops does the translation; `_canonical` takes the
writing process out of it, `_audit` reads the result with suspicion, `_trusted` is the list of types.
"""

from mainspring.errors import Corrupt, MissingExtra, Refused

__all__ = ["dump_estimator", "load_estimator", "load_foreign"]


def dump_estimator(model: object) -> bytes:
    """Write a fitted scikit-learn estimator or pipeline as the bytes of a skops archive.

    The same fitted model gives the same bytes in every process of the same versions. What could not be loaded again is
    refused here, where its author can still act.

    Raises:
        Refused: the model holds a type or a function that `load_estimator` would not build.
        MissingExtra: skops or scikit-learn is not installed.
    """
    try:
        # Heavy and optional: scikit-learn, scipy.
        from mainspring.bundle._audit import audit_archive
        from mainspring.bundle._canonical import canonical
        from mainspring.bundle._skops import import_skops, saving

        skops_io = import_skops()
    except ImportError as error:
        raise MissingExtra.of("ml", "skops", "Saving a scikit-learn model") from error
    try:
        data = canonical(skops_io.dumps(model))
    except (TypeError, AttributeError) as error:
        # skops has an exception of its own for this, and plain TypeErrors from objects it cannot take apart.
        raise Refused(
            f"{type(model).__name__} cannot be saved without pickle: {error}",
            where="model",
            next_step="build the model of scikit-learn's own estimators and transformers",
        ) from error
    with saving():
        needed = skops_io.get_untrusted_types(data=data)
    _check_types(needed)
    audit_archive(data)
    return data


def load_estimator(data: bytes) -> object:
    """Load what `dump_estimator` wrote. No code of the file runs; nothing is imported for a type that is not trusted.

    Raises:
        Refused: the file holds a type that is not trusted, or was made to do harm.
        Corrupt: the bytes are not a model, or do not fit together.
        MissingExtra: skops or scikit-learn is not installed.
    """
    try:
        # Heavy and optional: scikit-learn, scipy.
        from mainspring.bundle._audit import audit_archive, check_feature_counts
        from mainspring.bundle._skops import import_skops

        skops_io = import_skops()
    except ImportError as error:
        raise MissingExtra.of("ml", "skops", "Loading a scikit-learn model") from error
    audit_archive(data)
    try:
        needed = skops_io.get_untrusted_types(data=data)
        _check_types(needed)
        model: object = skops_io.loads(data, trusted=needed)
    except (Refused, MemoryError):
        raise
    except RecursionError as error:
        raise Refused("The model file is refused: its objects are nested too deep", where="model") from error
    except Exception as error:
        # A crafted or half-written file can fail anywhere inside skops, numpy or scikit-learn, with any exception.
        raise Corrupt(
            f"The model cannot be rebuilt: {type(error).__name__}: {error}",
            where="model",
            next_step="check that the installed scikit-learn is the one in requirements.txt, or write the bundle anew",
        ) from error
    check_feature_counts(model)
    return model


def load_foreign(data: bytes) -> object:
    """Load a skops archive that another program wrote, under the same suspicion as one of ours.

    Raises:
        Refused, Corrupt, MissingExtra: as `load_estimator`; a model with sparse matrices in it is refused too.
    """
    try:
        # Heavy and optional: numpy is there, scikit-learn may not be.
        from mainspring.bundle._audit import audit_foreign
        from mainspring.bundle._canonical import canonical
    except ImportError as error:
        raise MissingExtra.of("ml", "skops", "Loading a scikit-learn model") from error
    audit_foreign(data)
    try:
        rewritten = canonical(data)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise Corrupt(f"The model cannot be read: {type(error).__name__}: {error}", where="model") from error
    return load_estimator(rewritten)


def _check_types(needed: list[str]) -> None:
    from mainspring.bundle._trusted import TRUSTED_TYPES

    strange = sorted(set(needed) - TRUSTED_TYPES)
    if strange:
        shown = ", ".join(f"`{each}`" for each in strange)
        raise Refused(
            f"The model holds what a bundle may not hold: {shown}",
            where="model",
            next_step=(
                "replace functions and classes of your own by scikit-learn transformers, or compute those columns "
                "before the model; nearest-neighbour models need algorithm='brute'"
            ),
        )
