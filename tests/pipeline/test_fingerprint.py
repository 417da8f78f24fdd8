"""What a key covers, shown on small modules that are edited and loaded in this process."""

# ruff: noqa: E501  # the modules under test stand on one line each, so that a pair can be compared

import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring.domain.ids import Digest
from mainspring.errors import Invalid
from mainspring.pipeline.fingerprint import ArgumentPart, Fingerprint, fingerprint
from mainspring.pipeline.reads import Stamp, StampCache

_numbers = itertools.count()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[str], types.ModuleType]]:
    """Load source as a module of the project called `unit`, each time anew."""
    folders: list[str] = []

    def load(source: str) -> types.ModuleType:
        folder = tmp_path / str(next(_numbers))
        folder.mkdir()
        (folder / "unit.py").write_text(source)
        sys.path.insert(0, str(folder))
        folders.append(str(folder))
        sys.modules.pop("unit", None)
        import unit  # type: ignore[import-not-found]

        return unit  # type: ignore[no-any-return]

    yield load
    sys.modules.pop("unit", None)
    sys.path[:] = [each for each in sys.path if each not in folders]


def _stamps() -> StampCache:
    return StampCache(lambda path: None, lambda: 0)


def _print(function: Callable[..., Any], **arguments: object) -> Fingerprint:
    return fingerprint(function, arguments, _stamps())


_PAIRS: dict[str, tuple[str, str]] = {
    "lambda": ("g = lambda x: x + 1\ndef f(x): return g(x)", "g = lambda x: x + 2\ndef f(x): return g(x)"),
    "nested function": ("def f(x):\n def g(): return 1\n return g()", "def f(x):\n def g(): return 2\n return g()"),
    "comprehension": ("def f(x): return [i + 1 for i in x]", "def f(x): return [i + 2 for i in x]"),
    "string constant": ("def f(x): return 'a'", "def f(x): return 'b'"),
    "lambda that is only a text": ("f = lambda x: 'a'", "f = lambda x: 'b'"),
    "float and int": ("def f(x): return 1", "def f(x): return 1.0"),
    "true and one": ("def f(x): return (1, 2)", "def f(x): return (True, 2)"),
    "negative zero": ("def f(x): return 0.0", "def f(x): return -0.0"),
    "attribute name": ("def f(x): return x.a", "def f(x): return x.b"),
    "operator": ("def f(x): return x < 1", "def f(x): return x <= 1"),
    "parameter name": ("def f(x, y=1): return y", "def f(x, z=1): return z"),
    "order of arguments": ("def f(x, y): return x - y", "def f(x, y): return y - x"),
    "jump": ("def f(x):\n while x: x -= 1\n return x", "def f(x):\n if x: x -= 1\n return x"),
    "exception handler": (
        "def f(x):\n try: return g(x)\n except ValueError: return 1\ndef g(x): ...",
        "def f(x):\n try: return g(x)\n except KeyError: return 1\ndef g(x): ...",
    ),
    "keyword only default": ("def f(x, *, k=1): return k", "def f(x, *, k=2): return k"),
    "dict of functions": (
        "def a(x): return 1\nTABLE = {'a': a}\ndef f(x): return TABLE['a'](x)",
        "def a(x): return 2\nTABLE = {'a': a}\ndef f(x): return TABLE['a'](x)",
    ),
    "set of functions": (
        "def a(x): return 1\ndef b(x): return 3\nS = {a, b}\ndef f(x): return [s(x) for s in S]",
        "def a(x): return 2\ndef b(x): return 3\nS = {a, b}\ndef f(x): return [s(x) for s in S]",
    ),
    "mutual recursion": (
        "def f(x): return g(x - 1) if x else 0\ndef g(x): return f(x) + 1",
        "def f(x): return g(x - 1) if x else 0\ndef g(x): return f(x) + 2",
    ),
    "swapped names": (
        "def a(): return 1\ndef b(): return 2\np, q = a, b\ndef f(x): return p() - q()",
        "def a(): return 1\ndef b(): return 2\np, q = b, a\ndef f(x): return p() - q()",
    ),
    "swapped closures": (
        "def m(n):\n def i(): return n\n return i\np, q = m(1), m(2)\ndef f(x): return p() - q()",
        "def m(n):\n def i(): return n\n return i\np, q = m(2), m(1)\ndef f(x): return p() - q()",
    ),
    "static method": (
        "class A:\n @staticmethod\n def s(): return 1\ndef f(x): return A.s()",
        "class A:\n @staticmethod\n def s(): return 2\ndef f(x): return A.s()",
    ),
    "class method": (
        "class A:\n @classmethod\n def s(cls): return 1\ndef f(x): return A.s()",
        "class A:\n @classmethod\n def s(cls): return 2\ndef f(x): return A.s()",
    ),
    "property": (
        "class A:\n @property\n def s(self): return 1\ndef f(x): return A().s",
        "class A:\n @property\n def s(self): return 2\ndef f(x): return A().s",
    ),
    "cached property": (
        "import functools\nclass A:\n @functools.cached_property\n def s(self): return 1\ndef f(x): return A().s",
        "import functools\nclass A:\n @functools.cached_property\n def s(self): return 2\ndef f(x): return A().s",
    ),
    "dataclass default": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n a: int = 1\ndef f(x): return A()",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n a: int = 2\ndef f(x): return A()",
    ),
    "dataclass factory": (
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n a: list = field(default_factory=lambda: [1])\ndef f(x): return A()",
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n a: list = field(default_factory=lambda: [2])\ndef f(x): return A()",
    ),
    "named tuple default": (
        "from typing import NamedTuple\nclass A(NamedTuple):\n a: int = 1\ndef f(x): return A()",
        "from typing import NamedTuple\nclass A(NamedTuple):\n a: int = 2\ndef f(x): return A()",
    ),
    "named tuple method": (
        "from typing import NamedTuple\nclass A(NamedTuple):\n a: int = 1\n def m(self): return 1\ndef f(x): return A().m()",
        "from typing import NamedTuple\nclass A(NamedTuple):\n a: int = 1\n def m(self): return 2\ndef f(x): return A().m()",
    ),
    "enum member": (
        "import enum\nclass E(enum.Enum):\n A = 1\ndef f(x): return E.A.value",
        "import enum\nclass E(enum.Enum):\n A = 2\ndef f(x): return E.A.value",
    ),
    "enum method": (
        "import enum\nclass E(enum.Enum):\n A = 1\n def m(self): return 1\ndef f(x): return E.A.m()",
        "import enum\nclass E(enum.Enum):\n A = 1\n def m(self): return 2\ndef f(x): return E.A.m()",
    ),
    "metaclass": (
        "class M(type):\n def __call__(cls): return 1\nclass A(metaclass=M): ...\ndef f(x): return A()",
        "class M(type):\n def __call__(cls): return 2\nclass A(metaclass=M): ...\ndef f(x): return A()",
    ),
    "instance in the module": (
        "class A:\n def __init__(self, n): self.n = n\na = A(1)\ndef f(x): return a.n",
        "class A:\n def __init__(self, n): self.n = n\na = A(2)\ndef f(x): return a.n",
    ),
    "method of an instance in the module": (
        "class A:\n def m(self): return 1\na = A()\ndef f(x): return a.m()",
        "class A:\n def m(self): return 2\na = A()\ndef f(x): return a.m()",
    ),
    "bound method": (
        "class A:\n def __init__(s, n): s.n = n\n def m(s): return s.n\nm = A(1).m\ndef f(x): return m()",
        "class A:\n def __init__(s, n): s.n = n\n def m(s): return s.n\nm = A(2).m\ndef f(x): return m()",
    ),
    "cached function": (
        "import functools\n@functools.lru_cache\ndef g(): return 1\ndef f(x): return g()",
        "import functools\n@functools.lru_cache\ndef g(): return 2\ndef f(x): return g()",
    ),
    "single dispatch": (
        "import functools\n@functools.singledispatch\ndef g(x): return 1\n@g.register\ndef _(x: int): return 1\ndef f(x): return g(x)",
        "import functools\n@functools.singledispatch\ndef g(x): return 1\n@g.register\ndef _(x: int): return 2\ndef f(x): return g(x)",
    ),
    "patched library": (
        "import json\ndef mine(x): return 1\njson.mine = mine\ndef f(x): return json.mine(x)",
        "import json\ndef mine(x): return 2\njson.mine = mine\ndef f(x): return json.mine(x)",
    ),
    "regular expression": ("import re\nR = re.compile('a')\ndef f(x): return R", "import re\nR = re.compile('b')\ndef f(x): return R"),
    "array in the module": (
        "import numpy as np\nA = np.arange(3)\ndef f(x): return A",
        "import numpy as np\nA = np.arange(4)\ndef f(x): return A",
    ),
    "getattr with a plain name": (
        "class A: a = 1; b = 2\ndef f(x): return getattr(A, 'a')",
        "class A: a = 1; b = 2\ndef f(x): return getattr(A, 'b')",
    ),
    "step used by the step": (
        "import mainspring as ms\n@ms.step\ndef g(x): return 1\ndef f(x): return g(x)",
        "import mainspring as ms\n@ms.step\ndef g(x): return 2\ndef f(x): return g(x)",
    ),
    "estimator of one's own": (
        "from sklearn.base import BaseEstimator\nclass A(BaseEstimator):\n def fit(self, X, y=None): return self\na = A()\ndef f(x): return a",
        "from sklearn.base import BaseEstimator\nclass A(BaseEstimator):\n def fit(self, X, y=None): return 0\na = A()\ndef f(x): return a",
    ),
    "class inside a function": (
        "def f(x):\n class A:\n  'doc'\n  a = 1\n return A.a",
        "def f(x):\n class A:\n  'doc'\n  a = 2\n return A.a",
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", _PAIRS)
def test_difference_is_seen_and_sameness_too(load: Any, pair: str) -> None:
    one, two = _PAIRS[pair]
    first, again, second = (_print(load(source).f, x=1) for source in (one, one, two))
    assert first == again
    assert first.key != second.key
    assert first.opaque == ()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("def f(x):\n    return x + 1", "def f(x):\n    '''Doc.'''\n\n    # why\n    return (\n        x\n        + 1\n    )"),
        ("def f(x):\n    y = x\n    return y", "def f(x):\n    zed = x\n    return zed"),
        ("def f(x):\n    return x", "import os\nUNUSED = 3\ndef other(): ...\ndef f(x):\n    return x"),
        (
            "class A:\n    def m(self): return 1\ndef f(x): return A().m()",
            "class A:\n    '''Doc.'''\n\n    def m(self):\n        '''Doc.'''\n        return 1\n\n\ndef f(x: int) -> int: return A().m()",
        ),
        ("def f(x):\n class A:\n  a = 1\n return A", "def f(x):\n class A:\n  'doc'\n\n  a = 1\n return A"),
        (
            "def f(x):\n    if x and x > 1:\n        return g(x, 1)\n    return None\ndef g(a, b): ...",
            "def f(x):\n    if (\n        x\n        and x > 1\n    ):\n        return g(\n            x,\n            1,\n        )\n\n    return None\ndef g(a, b): ...",
        ),
    ],
    ids=["layout", "local name", "unused neighbours", "class", "inner class docstring", "long condition"],
)  # fmt: skip
def test_what_cannot_change_a_result_is_not_seen(load: Any, one: str, two: str) -> None:
    assert _print(load(one).f, x=1).key == _print(load(two).f, x=1).key


def test_value_that_a_name_has_now_counts(load: Any) -> None:
    module = load("STATE = [1]\ndef f(x): return STATE")
    before = _print(module.f, x=1)
    module.STATE.append(2)
    assert _print(module.f, x=1).key != before.key


def test_code_that_was_edited_after_its_import_does_not_take_the_key_of_the_new(load: Any) -> None:
    module = load("def g(x): return 1\n")
    program = "def f(x):\n    from unit import g\n    return g(x)\n"
    scope: dict[str, Any] = {"__name__": "other"}
    exec(program, scope)
    before = _print(scope["f"], x=1)
    Path(module.__file__).write_text("def g(x): return 222\n")
    stale = _print(scope["f"], x=1)
    sys.modules.pop("unit")
    fresh = _print(scope["f"], x=1)
    assert len({before.key, stale.key, fresh.key}) == 3


def test_installed_packages_count_with_what_they_require(load: Any) -> None:
    module = load("from sklearn.linear_model import LogisticRegression\ndef f(x): return LogisticRegression()")
    packages = {part.name for part in _print(module.f, x=1).parts if part.kind == "package"}
    assert {"scikit-learn", "numpy", "scipy", "joblib"} <= packages


def test_packages_of_arguments_count(load: Any) -> None:
    import pandas as pd

    module = load("def f(x): return x")
    names = {part.name for part in _print(module.f, x=pd.DataFrame({"a": [1]})).parts if part.kind == "package"}
    assert {"pandas", "numpy"} <= names
    held = ArgumentPart(Digest("0" * 64), (), ("pandas",))
    parts = fingerprint(module.f, {"x": held}, _stamps(), held=[held]).parts
    assert {"pandas", "numpy"} <= {part.name for part in parts if part.kind == "package"}


def test_class_of_a_held_value_counts(load: Any) -> None:
    def held_print(body: str) -> Fingerprint:
        module = load(
            f"from dataclasses import dataclass\n@dataclass\nclass A:\n a: int\n def m(self): return {body}\ndef f(x): return x.m()"
        )
        held = ArgumentPart(Digest("0" * 64), ("unit:A",))
        return fingerprint(module.f, {"x": held}, _stamps(), held=[held])

    assert held_print("1").key == held_print("1").key != held_print("2").key


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import time\ndef f(x): return time.time()", "the clock (time.time)"),
        ("from datetime import datetime\ndef f(x): return datetime.now()", "the clock (datetime.now)"),
        ("import datetime\ndef f(x): return datetime.datetime.now()", "the clock"),
        ("import random\ndef f(x): return random.choice(x)", "random numbers without a seed (random.choice)"),
        ("import numpy as np\ndef f(x): return np.random.rand()", "random numbers without a seed"),
        ("import numpy as np\ndef f(x): return np.random.default_rng()", "random numbers without a seed"),
        ("import posix\ndef f(x): return posix.environ", "the environment (posix.environ)"),
        ("import os\ndef f(x): return os.cpu_count()", "the machine (os.cpu_count)"),
        ("def f(x): return hash(x)", "the hash seed or an address in memory (hash)"),
        ("import urllib.request\ndef f(x): return urllib.request.urlopen(x)", "the network"),
        ("import subprocess\ndef f(x): return subprocess.run(x)", "another program (subprocess.run)"),
        ("def f(x): return getattr(x, x)", "code by a computed name (getattr)"),
        ("def f(x): return eval(x)", "code by a computed name (eval)"),
        ("import uuid\ndef f(x): return uuid.uuid4()", "random numbers without a seed (uuid.uuid4)"),
        ("import threading\nL = threading.Lock()\ndef f(x):\n with L: return x", "the content of a _thread.lock"),
        ("from duckdb import sql\ndef f(x): return sql(x)", "files that duckdb opens"),
    ],
)
def test_what_cannot_be_seen_is_named(load: Any, source: str, said: str) -> None:
    assert said in " | ".join(_print(load(source).f, x=1).opaque)


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\ndef f(x): return np.random.default_rng(0).normal()",
        "import random\ndef f(x): return random.Random(3).random()",
        "def f(x): return getattr(x, 'real', None)",
        "import logging\nlog = logging.getLogger(__name__)\ndef f(x): log.info('x'); return x",
        "import datetime\ndef f(x): return datetime.datetime(2020, 1, 1)",
        "import os\ndef f(x): return os.path.join('a', 'b')",
        "import numpy as np\nfrom numpy import log\ndef f(x): return np.exp(log(x)) + np.random.default_rng(3).random()",
        "import sys\ndef f(x): print(x, file=sys.stderr)",
    ],
)
def test_what_can_be_seen_is_not_named(load: Any, source: str) -> None:
    assert _print(load(source).f, x=1).opaque == ()


def test_argument_without_content_is_refused() -> None:
    with pytest.raises(Invalid, match="argument `x`"):
        _print(lambda x: x, x=iter([]))


def test_function_as_an_argument(load: Any) -> None:
    module = load("def f(x): return x")
    one, two = (load(f"def g(): return {n}").g for n in (1, 2))
    assert _print(module.f, x=one).key != _print(module.f, x=two).key
    assert _print(module.f, x=one).key == _print(module.f, x=one).key
    assert _print(module.f, x=functools.partial(one, 1)).key != _print(module.f, x=functools.partial(one, 2)).key


def test_file_hashed_long_ago_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("x")
    stat = path.stat()
    stamp = Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    known = StampCache(lambda name: (stamp, "remembered"), lambda: 0)
    assert known.digest_of(str(path)) == "remembered"
    path.write_text("y2")
    assert known.digest_of(str(path)) != "remembered"


def test_file_that_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("x")
    fresh = StampCache(lambda name: None, lambda: path.stat().st_ctime_ns + 1_000)
    fresh.digest_of(str(path))
    assert fresh.learned == {}
    settled = StampCache(lambda name: None, lambda: path.stat().st_ctime_ns + 3_000_000_000)
    settled.digest_of(str(path))
    assert list(settled.learned) == [str(path)]
