"""The quicker import of skops finds what skops finds by itself."""

import subprocess
import sys

import pytest

pytest.importorskip("skops", reason="skops is not installed: pip install 'mainspring[ml]'")

SAY = """
import skops.io._trusted_types as types
for name, found in sorted(vars(types).items()):
    if name.endswith("_NAMES"):
        print(name, sorted(found))
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


def test_who_saves_a_model_is_spared_the_survey_and_others_get_it() -> None:
    code = (
        "import sklearn.linear_model, sys\n"
        "from mainspring.bundle._skops import import_skops, saving; import_skops()\n"
        "from skops.io._general import SKLEARN_ESTIMATOR_TYPE_NAMES as known\n"
        "assert 'sklearn.ensemble' not in sys.modules\n"
        "with saving():\n"
        "    quick = list(known)\n"
        "assert 'sklearn.ensemble' not in sys.modules\n"
        "assert 'sklearn.linear_model._logistic.LogisticRegression' in quick\n"
        "assert set(quick) < set(known), set(quick) - set(known)\n"
        "assert 'sklearn.ensemble._forest.RandomForestClassifier' in known + []\n"
        "from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper\n"
        "assert _BinMapper().fit"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
