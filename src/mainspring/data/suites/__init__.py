"""Suites of other libraries read as schemas: Great Expectations' JSON and Pandera's YAML. Neither library is needed.

Nouns: `Suite` (a schema, and what of the suite has no equal among its rules). Start reading in `gathered.py`.
"""

import json
from pathlib import Path

import yaml

from mainspring.data.suites.expectations import read_expectations
from mainspring.data.suites.gathered import Suite
from mainspring.data.suites.pandera import read_pandera
from mainspring.errors import Invalid, NotFound

__all__ = ["Suite", "read_suite"]


def read_suite(path: Path) -> Suite:
    """Read a suite that Great Expectations (JSON) or Pandera (``to_yaml`` or ``to_json``) has written.

    What has an equal among the rules of a schema becomes one; everything else is named in `Suite.left_out`.

    Raises:
        NotFound: there is no such file.
        Invalid: it is neither of these.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"There is no suite `{path.name}`", where=str(path), next_step="check the path") from error
    except (UnicodeDecodeError, OSError) as error:
        raise Invalid(f"`{path.name}` is no text", where=str(path), next_step="give JSON or YAML in UTF-8") from error
    try:
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError, RecursionError) as error:
        said = str(error).splitlines()[0]
        raise Invalid(f"`{path.name}` cannot be read: {said}", where=str(path), next_step="mend it") from error
    if isinstance(document, dict) and isinstance(document.get("expectations"), list):
        return read_expectations(document["expectations"])
    if isinstance(document, dict) and "schema_type" in document and isinstance(document.get("columns"), dict):
        return read_pandera(document)
    raise Invalid(
        f"`{path.name}` is no suite of Great Expectations and no schema of Pandera",
        where=str(path),
        next_step="give the JSON of an expectation suite, or what to_yaml() of a Pandera schema wrote",
    )
