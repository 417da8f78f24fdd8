"""``bundle.json``: what a bundle says about itself, to and from JSON.

The text is a function of the model and of what the caller handed in: sorted keys, no clock, no host, so that the same
model written twice is the same bundle. This module knows no folder; `format` reads and writes the files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from mainspring.domain.signature import Signature
from mainspring.errors import Corrupt, Invalid

__all__ = [
    "FORMAT",
    "MANIFEST_NAME",
    "BundleFile",
    "BundleManifest",
    "Flavor",
    "check_member_name",
    "manifest_from_json",
    "manifest_to_json",
    "signature_from_json",
    "signature_to_json",
]

#: Version of the layout. A reader refuses a newer one rather than guess.
FORMAT = 1
MANIFEST_NAME = "bundle.json"

Flavor = Literal["sklearn", "onnx"]

# Each part of a path: no leading dot (hidden and `..`), nothing a shell, a URL or Windows would read differently.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")


@dataclass(frozen=True, slots=True)
class BundleFile:
    """Hash and size of one file of the bundle."""

    blake3: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    """The content of ``bundle.json``.

    `threshold` is the score from which a binary model says ``classes[1]`` (None means 0.5). `requirements` are the
    distributions needed to load, as ``name==version``. `facts` is the caller's: run id, data version, commit.
    `files` maps each relative path, except ``bundle.json`` itself, to its hash and size.
    """

    format: int
    name: str
    flavor: Flavor
    signature: Signature
    threshold: float | None
    requirements: tuple[str, ...]
    python: str
    facts: dict[str, object]
    files: dict[str, BundleFile]


def check_member_name(name: str) -> None:
    """Check that `name` is a relative POSIX path that stays inside the bundle.

    Raises:
        Invalid: the path is empty, absolute, climbs out, or uses other characters than letters, digits and ``_.+-``.
    """
    if not all(_PART.match(part) for part in name.split("/")):
        raise Invalid(
            f"`{name}` cannot be the path of a file in a bundle",
            where=f"files[{name!r}]",
            next_step="use a relative path of letters, digits and _ . + - with / between folders",
        )


def manifest_to_json(manifest: BundleManifest) -> bytes:
    """Return the manifest as indented JSON with sorted keys and a final newline.

    Raises:
        Invalid: a fact, or the signature's example, cannot be written as JSON.
    """
    try:
        text = msgspec.json.encode(manifest, order="sorted")
    except (TypeError, ValueError, OverflowError) as error:
        raise Invalid(
            f"The bundle's facts or example cannot be written as JSON: {error}",
            where=MANIFEST_NAME,
            next_step="hand in strings, numbers, booleans, lists and dictionaries with string keys",
        ) from error
    return msgspec.json.format(text, indent=2) + b"\n"


def manifest_from_json(text: bytes, *, where: str) -> BundleManifest:
    """Read a manifest; `where` names the file in errors.

    Raises:
        Corrupt: the text is not a manifest, or names a file outside the bundle.
        Invalid: a newer Mainspring wrote it.
    """
    try:
        version = msgspec.json.decode(text, type=_Versioned).format
        if version > FORMAT:
            raise Invalid(
                f"The bundle has format {version}, and this release reads up to {FORMAT}",
                where=where,
                next_step="upgrade mainspring",
            )
        manifest = msgspec.json.decode(text, type=BundleManifest)
    except msgspec.MsgspecError as error:
        raise Corrupt(
            f"The manifest cannot be read: {error}", where=where, next_step="write the bundle anew"
        ) from error
    try:
        for name in manifest.files:
            check_member_name(name)
    except Invalid as error:
        raise Corrupt(error.what, where=where, next_step="do not load this bundle; ask who made it") from error
    return manifest


def signature_to_json(signature: Signature) -> dict[str, object]:
    """Return `signature` as plain JSON-able values."""
    values = msgspec.to_builtins(signature)
    assert isinstance(values, dict)
    return values


def signature_from_json(values: Mapping[str, object]) -> Signature:
    """Build a signature from what `signature_to_json` returned, or from the same read back from JSON.

    Raises:
        Invalid: the values do not describe a signature; the message names the place.
    """
    try:
        return msgspec.convert(values, type=Signature)
    except msgspec.ValidationError as error:
        raise Invalid(f"This is not a signature: {error}", where="signature") from error


class _Versioned(msgspec.Struct):
    format: int
