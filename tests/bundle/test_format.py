"""The folder of a bundle: whole or absent, the same for the same model, and exact about every byte in it."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from mainspring.bundle import format as bundle_format
from mainspring.bundle.format import digest_of, read_manifest, read_member, verify, write_bundle
from mainspring.bundle.manifest import MANIFEST_NAME, manifest_to_json, signature_from_json, signature_to_json
from mainspring.domain.signature import Column, Signature
from mainspring.errors import Conflict, Corrupt, Invalid, NotFound, Refused


@pytest.fixture
def bundle(tmp_path: Path, forest: Any, signature: Signature) -> Path:
    folder = tmp_path / "bundle"
    write_bundle(
        folder,
        forest,
        signature,
        name="late-flights",
        profile={"rows": 200},
        threshold=0.4,
        facts={"run_id": "abc", "data": {"name": "flights", "version": 3}},
        extra_files={"docs/card.md": b"# A card\n"},
    )
    return folder


def test_a_bundle_says_what_it_holds(bundle: Path, signature: Signature) -> None:
    manifest = verify(bundle)
    assert manifest == read_manifest(bundle)
    assert (manifest.name, manifest.flavor, manifest.threshold, manifest.format) == ("late-flights", "sklearn", 0.4, 1)
    assert manifest.signature == signature
    assert manifest.facts == {"run_id": "abc", "data": {"name": "flights", "version": 3}}
    assert sorted(manifest.files) == ["docs/card.md", "model.skops", "profile.json", "requirements.txt"]
    assert [each.partition("==")[0] for each in manifest.requirements] == [
        "numpy",
        "pandas",
        "scikit-learn",
        "scipy",
        "skops",
    ]
    assert read_member(bundle, manifest, "profile.json") == b'{"rows":200}'
    assert read_member(bundle, manifest, "docs/card.md") == b"# A card\n"


def test_the_manifest_is_for_people_too(bundle: Path) -> None:
    text = (bundle / MANIFEST_NAME).read_text()
    document = json.loads(text)
    assert text == json.dumps(document, indent=2) + "\n"
    assert list(document) == sorted(document)
    assert document["files"]["docs/card.md"] == {"blake3": blake3(b"# A card\n").hexdigest(), "size_bytes": 9}


def test_the_same_model_is_the_same_bundle(tmp_path: Path, forest: Any, signature: Signature) -> None:
    digests = set()
    for name in ("one", "two"):
        write_bundle(tmp_path / name, forest, signature, name="m", facts={"b": 1, "a": 2})
        digests.add(digest_of(tmp_path / name))
    assert len(digests) == 1
    write_bundle(tmp_path / "three", forest, signature, name="m", facts={"b": 1, "a": 3})
    assert digest_of(tmp_path / "three") not in digests


def test_no_file_of_a_bundle_is_a_pickle(bundle: Path) -> None:
    names = {each.name for each in bundle.rglob("*")}
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))}
    assert b"\x80\x04\x95" not in (bundle / "model.skops").read_bytes()


@pytest.mark.parametrize("name", ["model.skops", "profile.json", "requirements.txt", "docs/card.md"])
def test_a_changed_file_is_named(bundle: Path, name: str) -> None:
    path = bundle / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="was changed") as caught:
        verify(bundle)
    assert caught.value.where == str(path)


def test_a_file_of_another_size_is_not_even_read(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (bundle / "model.skops").open("ab") as file:
        file.write(b"more")
    with pytest.raises(Corrupt, match="bytes instead of"):
        verify(bundle)


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "profile.json").unlink()
    with pytest.raises(Corrupt, match=r"`profile.json` is missing"):
        verify(bundle)


@pytest.mark.parametrize("name", ["more.txt", "docs/more.txt", ".hidden"])
def test_a_file_nobody_listed_is_named(bundle: Path, name: str) -> None:
    (bundle / name).write_text("more")
    with pytest.raises(Corrupt, match="not in the manifest") as caught:
        verify(bundle)
    assert caught.value.where.endswith(name)


@pytest.mark.parametrize("name", ["model.skops", "docs", MANIFEST_NAME])
def test_links_are_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    moved = tmp_path / "moved"
    (bundle / name).rename(moved)
    (bundle / name).symlink_to(moved)
    with pytest.raises(Corrupt, match=r"is a link|is missing"):
        verify(bundle)


@pytest.mark.parametrize("path", ["../model.skops", "/etc/passwd", "a/../../x", "", "a//b", "C:\\x", "a\\b", ".hidden"])
def test_a_manifest_that_leaves_the_folder_is_refused(bundle: Path, path: str) -> None:
    document = json.loads((bundle / MANIFEST_NAME).read_text())
    document["files"][path] = document["files"]["model.skops"]
    (bundle / MANIFEST_NAME).write_text(json.dumps(document))
    with pytest.raises(Corrupt, match="cannot be the path"):
        verify(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 1}', '{"format": 0}'])
def test_a_manifest_that_is_none_is_corrupt(bundle: Path, text: str) -> None:
    (bundle / MANIFEST_NAME).write_text(text)
    with pytest.raises(Corrupt, match="cannot be read"):
        verify(bundle)


def test_a_newer_format_asks_for_a_newer_release(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_text('{"format": 2, "what": "we cannot know"}')
    with pytest.raises(Invalid, match="format 2") as caught:
        read_manifest(bundle)
    assert caught.value.next_step == "upgrade mainspring"


def test_a_folder_that_is_no_bundle_is_not_found(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotFound, match="is not a bundle"):
            verify(folder)
        with pytest.raises(NotFound):
            digest_of(folder)


def test_a_file_the_bundle_does_not_have_is_not_found(bundle: Path) -> None:
    with pytest.raises(NotFound):
        read_member(bundle, read_manifest(bundle), "other")


def test_a_bundle_is_never_written_over(bundle: Path, forest: Any, signature: Signature) -> None:
    before = digest_of(bundle)
    with pytest.raises(Conflict, match="exists already"):
        write_bundle(bundle, forest, signature, name="other")
    assert digest_of(bundle) == before
    assert [each.name for each in bundle.parent.iterdir()] == ["bundle"]


def test_a_crash_while_writing_leaves_no_bundle(
    tmp_path: Path, forest: Any, signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def fail(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError("the disk is gone")

    monkeypatch.setattr(bundle_format.os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        write_bundle(tmp_path / "bundle", forest, signature, name="m")
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_on_the_disk_before_the_folder_gets_its_name(
    tmp_path: Path, forest: Any, signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        seen.append((tmp_path / "bundle").exists())
        sync(descriptor)

    monkeypatch.setattr(bundle_format.os, "fsync", watch)
    write_bundle(tmp_path / "bundle", forest, signature, name="m")
    assert seen == [False] * (len(seen) - 1) + [True]
    assert len(seen) >= 6  # four files, their folder, and the folder around it


@pytest.mark.parametrize("path", ["../x", "model.skops", MANIFEST_NAME, "/x"])
def test_extra_files_stay_inside_and_beside_the_bundles_own(
    tmp_path: Path, forest: Any, signature: Signature, path: str
) -> None:
    with pytest.raises(Invalid):
        write_bundle(tmp_path / "bundle", forest, signature, name="m", extra_files={path: b""})
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("facts", [{"a": object()}, {"a": {1j}}])
def test_facts_that_json_cannot_hold_are_refused(
    tmp_path: Path, forest: Any, signature: Signature, facts: dict[str, object]
) -> None:
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        write_bundle(tmp_path / "bundle", forest, signature, name="m", facts=facts)


def test_model_and_signature_must_name_the_same_columns_and_classes(
    tmp_path: Path, forest: Any, signature: Signature
) -> None:
    swapped = replace(signature, classes=("on time", "late"))
    with pytest.raises(Invalid, match="classes") as caught:
        write_bundle(tmp_path / "bundle", forest, swapped, name="m")
    assert caught.value.where == "signature.classes"
    with pytest.raises(Invalid, match="was fitted on") as caught:
        write_bundle(tmp_path / "bundle", forest, replace(signature, columns=signature.columns[::-1]), name="m")
    assert caught.value.where == "signature.columns"
    with pytest.raises(Invalid, match="threshold"):
        write_bundle(tmp_path / "bundle", forest, signature, name="m", threshold=1.5)


@pytest.mark.parametrize(
    ("values", "classes"), [([0, 1], ("0", "1")), ([False, True], ("False", "True")), ([0.0, 1.0], ("0", "1"))]
)
def test_classes_may_be_numbers_or_truth_values(tmp_path: Path, values: list[Any], classes: tuple[str, ...]) -> None:
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = LogisticRegression().fit(x, np.array([values[0], values[0], values[1], values[1]]))
    write_bundle(tmp_path / "b", model, Signature((Column("x", "number"),), "y", "binary", classes), name="m")


def test_a_classifier_without_probabilities_is_refused_with_advice(tmp_path: Path) -> None:
    model = LinearSVC().fit([[0.0], [1.0]], ["a", "b"])
    with pytest.raises(Invalid, match="predict_proba") as caught:
        write_bundle(tmp_path / "b", model, Signature((Column("x", "number"),), "y", "binary", ("a", "b")), name="m")
    assert "CalibratedClassifierCV" in caught.value.next_step


def test_a_model_that_cannot_be_saved_leaves_nothing(tmp_path: Path, signature: Signature, forest: Any) -> None:
    class Odd:
        classes_ = np.array(["late", "on time"])

        def predict_proba(self, rows: Any) -> Any:
            return rows

    with pytest.raises(Refused):
        write_bundle(tmp_path / "b", Odd(), signature, name="m")
    assert list(tmp_path.iterdir()) == []


def test_a_signature_reads_back_from_json(signature: Signature) -> None:
    assert signature_from_json(json.loads(json.dumps(signature_to_json(signature)))) == signature
    with pytest.raises(Invalid, match=r"columns\[0\].type"):
        signature_from_json({"columns": [{"name": "x", "type": "float"}], "target": "y", "task": "binary"})


def test_the_manifest_is_a_function_of_its_values(bundle: Path) -> None:
    assert manifest_to_json(read_manifest(bundle)) == (bundle / MANIFEST_NAME).read_bytes()
