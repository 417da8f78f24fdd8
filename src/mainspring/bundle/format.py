"""The folder of a bundle: written in one piece, verified file by file.

A bundle is complete or absent: it is built under a temporary name in the same folder, flushed to the disk, and renamed.
`manifest` owns the text of ``bundle.json``; `predictor` loads what is here verified.
"""

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from blake3 import blake3
from numpy.typing import NDArray

from mainspring.bundle.estimators import dump_estimator
from mainspring.bundle.forms import FORM_NAMES, compile_forms
from mainspring.bundle.labels import class_named
from mainspring.bundle.manifest import (
    FORMAT,
    MANIFEST_NAME,
    BundleFile,
    BundleManifest,
    check_member_name,
    manifest_from_json,
    manifest_to_json,
)
from mainspring.bundle.native import check_native, native_onnx
from mainspring.bundle.onnx_predictor import ONNX_NAME
from mainspring.bundle.packages import installed_version, needed_packages
from mainspring.domain.ids import Digest, new_id
from mainspring.domain.signature import Signature
from mainspring.errors import Conflict, Corrupt, Invalid, NotFound

__all__ = ["MODEL_NAME", "PROFILE_NAME", "digest_of", "read_manifest", "read_member", "verify", "write_bundle"]

MODEL_NAME = "model.skops"
PROFILE_NAME = "profile.json"
_REQUIREMENTS_NAME = "requirements.txt"
_CHUNK_BYTES = 4 << 20


def write_bundle(
    folder: Path,
    model: object,
    signature: Signature,
    *,
    name: str,
    profile: Mapping[str, object] | None = None,
    threshold: float | None = None,
    facts: Mapping[str, object] | None = None,
    extra_files: Mapping[str, bytes] | None = None,
    sample: Mapping[str, NDArray[Any]] | None = None,
) -> BundleManifest:
    """Write a fitted model as the bundle `folder`, which must not exist or be empty.

    The model is a scikit-learn estimator, an ONNX model (its bytes, or a ``ModelProto``) or a PyTorch module, which is
    exported to ONNX and has to score equally there.

    `profile` is what the training data looked like (counts), `facts` where the model comes from; both are kept as they
    are. `sample` holds validation rows as columns: with them a faster form of the model is made, and kept if it is
    proven equal (`forms`). The same arguments give the same bytes. A crash leaves no folder, or the whole one.

    Raises:
        Conflict: the folder holds something already.
        Invalid: model and signature do not fit together, or a path, profile or fact cannot be stored.
        Refused: the model cannot be saved without pickle.
    """
    _check_threshold(signature, threshold)
    native = native_onnx(model, signature)
    if native is None:
        _check_fit(model, signature)
    needed = needed_packages(model) if native is None else ("numpy", "onnxruntime")
    requirements = tuple(f"{each}=={installed_version(each)}" for each in needed)
    files = {
        **({MODEL_NAME: dump_estimator(model)} if native is None else {ONNX_NAME: native}),
        PROFILE_NAME: _json(profile or {}, PROFILE_NAME),
        _REQUIREMENTS_NAME: "".join(f"{each}\n" for each in requirements).encode(),
    }
    for path, content in (extra_files or {}).items():
        check_member_name(path)
        if path in files or path in (MANIFEST_NAME, *FORM_NAMES):
            raise Invalid(f"`{path}` is a file of the bundle itself", where="extra_files", next_step="rename it")
        files[path] = content
    manifest = BundleManifest(
        format=FORMAT,
        name=name,
        flavor="sklearn" if native is None else "onnx",
        signature=signature,
        threshold=threshold,
        requirements=requirements,
        python=platform.python_version(),
        facts=dict(facts or {}),
        files={},
    )
    if native is not None:
        files |= check_native(model, native, manifest, sample)
    elif sample is not None:
        files |= compile_forms(model, files[MODEL_NAME], manifest, sample)
    listed = {path: BundleFile(blake3(content).hexdigest(), len(content)) for path, content in files.items()}
    manifest = replace(manifest, files=listed)
    _write_folder(folder, files | {MANIFEST_NAME: manifest_to_json(manifest)})
    return manifest


def read_manifest(folder: Path) -> BundleManifest:
    """Read ``bundle.json`` without looking at the other files; `verify` looks at them all.

    Raises:
        NotFound: the folder is no bundle.
        Corrupt: the manifest cannot be read.
    """
    return manifest_from_json(_manifest_bytes(folder), where=str(folder / MANIFEST_NAME))


def digest_of(folder: Path) -> Digest:
    """Return the BLAKE3 of ``bundle.json``; as that lists every other hash, it identifies the whole bundle.

    Raises:
        NotFound: the folder is no bundle.
    """
    return Digest(blake3(_manifest_bytes(folder)).hexdigest())


def verify(folder: Path) -> BundleManifest:
    """Check that the folder holds exactly the files of its manifest, each with its size and hash.

    Raises:
        NotFound: the folder is no bundle.
        Corrupt: a file is missing, changed, not listed, or a link; the message names it.
    """
    manifest = read_manifest(folder)
    found = _listing(folder)
    for path in sorted(found - manifest.files.keys() - {MANIFEST_NAME}):
        raise _corrupt("is not in the manifest", folder / path)
    for path, expected in sorted(manifest.files.items()):
        with _opened(folder / path, expected) as file:
            hasher = blake3()
            while chunk := file.read(_CHUNK_BYTES):
                hasher.update(chunk)
        if hasher.hexdigest() != expected.blake3:
            raise _corrupt("was changed after it was written", folder / path)
    return manifest


def read_member(folder: Path, manifest: BundleManifest, name: str) -> bytes:
    """Return the bytes of one listed file, checked against the manifest.

    Raises:
        NotFound: the manifest lists no such file.
        Corrupt: the file is missing, a link, or not what was written.
    """
    expected = manifest.files.get(name)
    if expected is None:
        raise NotFound(f"The bundle has no file `{name}`", where=str(folder))
    with _opened(folder / name, expected) as file:
        content = file.read()
    if blake3(content).hexdigest() != expected.blake3:
        raise _corrupt("was changed after it was written", folder / name)
    return content


def _check_threshold(signature: Signature, threshold: float | None) -> None:
    if threshold is not None and (signature.task != "binary" or not 0 <= threshold <= 1):
        raise Invalid(f"{threshold} is not a threshold", where="threshold", next_step="0 to 1, binary models only")


def _check_fit(model: object, signature: Signature) -> None:
    """Check that scores will mean what the signature says they mean."""
    if signature.task == "regression":
        if not hasattr(model, "predict"):
            raise Invalid(f"{type(model).__name__} has no `predict`", where="model", next_step="hand in a regressor")
    else:
        if not hasattr(model, "predict_proba"):
            raise Invalid(
                f"{type(model).__name__} has no `predict_proba`",
                where="model",
                next_step="wrap it in sklearn.calibration.CalibratedClassifierCV",
            )
        known = [class_named(each, signature.classes) for each in getattr(model, "classes_", ())]
        if tuple(known) != signature.classes:
            raise Invalid(
                f"The model's classes {list(getattr(model, 'classes_', ()))} are not the signature's "
                f"{list(signature.classes)}",
                where="signature.classes",
                next_step="list the classes in the order of model.classes_",
            )
    names = getattr(model, "feature_names_in_", None)
    if names is not None and tuple(names) != signature.names:
        raise Invalid(
            f"The model was fitted on {list(names)}, the signature lists {list(signature.names)}",
            where="signature.columns",
            next_step="list the columns in the order of model.feature_names_in_",
        )


def _json(value: Mapping[str, object], where: str) -> bytes:
    try:
        return msgspec.json.encode(value, order="sorted")
    except (TypeError, ValueError, OverflowError) as error:
        raise Invalid(f"{where} cannot be written as JSON: {error}", where=where) from error


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.parent / f".{folder.name}.{new_id()}.building"
    try:
        for path, content in files.items():
            (building / path).parent.mkdir(parents=True, exist_ok=True)
            with (building / path).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for each in sorted(building.rglob("*/"), reverse=True):
            _sync_folder(each)
        _sync_folder(building)
        building.rename(folder)  # an empty folder gives way, a filled one does not
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        if folder.exists():
            raise Conflict(f"`{folder}` exists already", next_step="choose another folder for this bundle") from error
        raise
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / MANIFEST_NAME
    if path.is_symlink():
        raise _corrupt("is a link", path)
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"`{folder}` is not a bundle: it has no {MANIFEST_NAME}",
            next_step="give the folder that write_bundle wrote",
        ) from error


def _opened(path: Path, expected: BundleFile) -> BinaryIO:
    """Open a listed file; its size is looked at first, so that a swollen file is not read at all."""
    if path.is_symlink() or not path.is_file():
        raise _corrupt("is missing", path)
    size = path.stat().st_size
    if size != expected.size_bytes:
        raise _corrupt(f"has {size} bytes instead of {expected.size_bytes}", path)
    return path.open("rb")


def _listing(folder: Path) -> set[str]:
    """Return the relative paths of all files; folders are walked without following links."""
    found: set[str] = set()
    for root, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(root) / name
            if path.is_symlink():
                raise _corrupt("is a link", path)
        found.update((Path(root) / name).relative_to(folder).as_posix() for name in names)
    return found


def _corrupt(what: str, path: Path) -> Corrupt:
    return Corrupt(f"`{path.name}` {what}", where=str(path), next_step="fetch or write the bundle anew")
