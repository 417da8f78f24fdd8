"""The quicker import of skops finds what skops finds by itself."""

import subprocess
import sys

import pytest

pytest.importorskip("skops", reason="skops is not installed: pip install 'mainspring[ml]'")

SAY = """
import skops.io._trusted_types as types
for name, found in sorted(vars(types).items()):
    if name.endswith("_NAMES"):
        print(name, found)
from scipy.special import expit
from skops.io._utils import get_module
print(get_module(expit), get_module(type("Local", (), {})))
"""


def said(first: str) -> list[str]:
    words = [sys.executable, "-c", f"import sklearn.linear_model, pandas\n{first}\n{SAY}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_types_it_trusts_are_those_of_a_plain_import() -> None:
    ours = said("from mainspring.bundle._skops import import_skops; import_skops()")
    assert ours == said("import skops.io")
    assert len(ours) >= 8
    assert max(map(len, ours)) > 1000


def test_the_search_is_answered_from_the_index() -> None:
    code = (
        "from mainspring.bundle._skops import import_skops; import_skops()\n"
        "import skops.io._utils as parts\n"
        "print(parts.whichmodule.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "mainspring.bundle._skops"


def test_where_skops_is_another_it_is_imported_as_it_is() -> None:
    code = (
        "import skops.io._utils as parts, sys\n"
        "del parts.whichmodule\n"
        "kept = {name: module for name, module in sys.modules.items() if name == 'skops.io._utils'}\n"
        "sys.modules.pop('skops.io')\n"
        "from mainspring.bundle._skops import import_skops\n"
        "print(import_skops().dumps)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("<function dumps"), done.stderr
