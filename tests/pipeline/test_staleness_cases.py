"""The wide battery of the cache: one small project for each way in which a result can come to hang on something.

Each case makes a project of a few files, runs it twice (the second run must hit), makes one edit, and runs it again:
the value must be the one that a run without a cache gives. What no key can cover must be named instead. Every run is a
process of its own, forked from one that has Mainspring loaded.
"""

# ruff: noqa: E501  # a case stands on one line, so that the battery can be read as a table

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_SERVER = r"""
import json, os, sys, traceback
sys.dont_write_bytecode = True
import mainspring.pipeline.engine, mainspring.artifacts.local, mainspring.store.sqlite, mainspring.pipeline.context
import mainspring as ms
import duckdb, numpy, pandas, yaml
ms.step, ms.pipeline
duckdb.connect().execute("SELECT 1")

def run(folder, state, variables):
    from pathlib import Path
    os.chdir(folder)
    os.environ.update(variables)
    sys.path[:0] = [folder, folder + "/lib"]
    from mainspring.artifacts.local import LocalArtifactStore
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.executor import InProcessExecutor
    from mainspring.store.sqlite import SqliteStore
    store = SqliteStore(Path(state, "store.db"))
    context = PipelineContext(store, LocalArtifactStore(Path(state, "artifacts")), executor=InProcessExecutor())
    from steps import main
    out = main.run(context)
    row = out.steps[0]
    return {"value": out.result, "cached": row.cached, "reason": row.reason, "opaque": list(row.opaque)}

for line in sys.stdin:
    folder, state, variables = json.loads(line)
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            answer = run(folder, state, variables)
        except BaseException:
            answer = {"error": traceback.format_exc()}
        with os.fdopen(write, "w") as target:
            target.write(json.dumps(answer))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as source:
        print(source.read(), flush=True)
    os.wait()
"""


@dataclass(frozen=True)
class Case:
    """A step whose `body` hangs on something, and an edit of that: a file and texts to replace, or what to call.

    With `opaque` the value may be old, but the words must be among what is named. `hits` is an edit without meaning.
    """

    body: str
    edit: tuple[str, str, str] | Callable[[Path], None]
    code: str = ""
    files: dict[str, str] = field(default_factory=dict)
    before: Callable[[Path], None] | None = None
    variables: tuple[dict[str, str], dict[str, str]] = ({}, {})
    opaque: str = ""
    hits: bool = False


def _steps(case: Case) -> str:
    body = case.body if "return " in case.body else f"return {case.body}"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return (
        f"from pathlib import Path\nimport mainspring as ms\n{case.code}\n\n@ms.step\ndef compute(x: int = 3) -> object:\n"
        f"{lines}\n@ms.pipeline\ndef main() -> object:\n    return compute()\n"
    )


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _retarget(folder: Path) -> None:
    (folder / "link.txt").unlink()
    (folder / "link.txt").symlink_to("two.txt")


def _link(folder: Path) -> None:
    (folder / "link.txt").symlink_to("one.txt")


def _zip(text: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import zipfile

        with zipfile.ZipFile(folder / "data.zip", "w") as target:
            target.writestr("member.txt", text)

    return make


def _sqlite(value: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import sqlite3

        (folder / "data.db").unlink(missing_ok=True)
        connection = sqlite3.connect(folder / "data.db")
        connection.execute("CREATE TABLE t (a INTEGER)")
        connection.execute("INSERT INTO t VALUES (?)", (value,))
        connection.commit()
        connection.close()

    return make


def _array(value: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import numpy as np

        np.save(folder / "data.npy", np.array([value, 2]))

    return make


def _parquet(value: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import duckdb

        duckdb.connect().execute(f"COPY (SELECT {value} AS a) TO '{folder / 'data.parquet'}' (FORMAT parquet)")

    return make


def _gzip(text: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import gzip

        (folder / "data.gz").write_bytes(gzip.compress(text.encode(), mtime=0))

    return make


def _pickled(value: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import pickle

        (folder / "data.pkl").write_bytes(pickle.dumps(value))

    return make


def _upgraded(folder: Path) -> None:
    (folder / "lib/fastlib-1.0.dist-info").rename(folder / "lib/fastlib-2.0.dist-info")
    (folder / "lib/fastlib-2.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: fastlib\nVersion: 2.0\n\n")


def _renamed(folder: Path) -> None:
    (folder / "near.py").rename(folder / "far.py")
    (folder / "far.py").write_text("def f(x):\n    return x + 9\n")
    (folder / "steps.py").write_text((folder / "steps.py").read_text().replace("from near", "from far"))


_TEXTS = {"one.txt": "1", "two.txt": "22"}
_TABLE = {"data.csv": "a\n1\n2\n"}
_MORE: tuple[str, str, str] = ("data.csv", "2", "5")
_PACKAGE = {"lib/fastlib-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: fastlib\nVersion: 1.0\n\n",
            "lib/fastlib-1.0.dist-info/RECORD": "fastlib/__init__.py,,\n", "lib/fastlib/__init__.py": "def f(x):\n    return x\n"}  # fmt: skip

_CASES: dict[str, Case] = {
    # the language
    "method of an instance": Case("Tool().f(x)", ("steps.py", "x + 1", "x + 2"), "class Tool:\n    def f(self, x):\n        return x + 1"),
    "method of an instance in the module": Case("TOOL.f(x)", ("steps.py", "Tool(1)", "Tool(2)"), "class Tool:\n    def __init__(self, n):\n        self.n = n\n    def f(self, x):\n        return x + self.n\nTOOL = Tool(1)"),
    "decorator with arguments": Case("f(x)", ("steps.py", "@times(2)", "@times(3)"), "def times(n):\n    def wrap(g):\n        return lambda x: g(x) * n\n    return wrap\n@times(2)\ndef f(x):\n    return x"),
    "decorator that is a class": Case("f(x)", ("steps.py", "(x) + 1", "(x) + 2"), "class Plus:\n    def __init__(self, g):\n        self.g = g\n    def __call__(self, x):\n        return self.g(x) + 1\n@Plus\ndef f(x):\n    return x"),
    "keyword of a partial": Case("f(x)", ("steps.py", "n=1", "n=2"), "import functools\ndef g(x, n):\n    return x + n\nf = functools.partial(g, n=1)"),
    "function inside a partial": Case("f(x)", ("steps.py", "x + n", "x - n"), "import functools\ndef g(x, n):\n    return x + n\nf = functools.partial(g, n=1)"),
    "argument of a partial method": Case("T().g()", ("steps.py", "f, 1)", "f, 2)"), "import functools\nclass T:\n    def f(self, n):\n        return n\n    g = functools.partialmethod(f, 1)"),
    "attribute of a function": Case("f.scale * x", ("steps.py", "f.scale = 1", "f.scale = 2"), "def f():\n    pass\nf.scale = 1"),
    "library function patched": Case("textwrap.dedent('a') + str(x)", ("steps.py", "'p'", "'q'"), "import textwrap\ntextwrap.dedent = lambda text: 'p'"),
    "own function patched": Case("near.f(x)", ("steps.py", "x * 5", "x * 6"), "import near\nnear.f = lambda x: x * 5", {"near.py": "def f(x):\n    return x\n"}),
    "own method patched": Case("near.T().f(x)", ("steps.py", "x * 5", "x * 6"), "import near\nnear.T.f = lambda self, x: x * 5", {"near.py": "class T:\n    def f(self, x):\n        return x\n"}),
    "re-export by a package": Case("pack.f(x)", ("pack/impl.py", "x + 1", "x + 2"), "import pack", {"pack/__init__.py": "from .impl import f\n", "pack/impl.py": "def f(x):\n    return x + 1\n"}),
    "re-export, used by name": Case("f(x)", ("pack/impl.py", "x + 1", "x + 2"), "from pack import f", {"pack/__init__.py": "from .impl import f\n", "pack/impl.py": "def f(x):\n    return x + 1\n"}),
    "re-export that changes its source": Case("f(x)", ("pack/__init__.py", ".one", ".two"), "from pack import f", {"pack/__init__.py": "from .one import f\n", "pack/one.py": "def f(x):\n    return 1\n", "pack/two.py": "def f(x):\n    return 2\n"}),
    "conditional import": Case("f(x)", _write("fast.py", "def f(x):\n    return x + 100\n"), "try:\n    from fast import f\nexcept ImportError:\n    def f(x):\n        return x"),
    "conditional import inside the step": Case("try:\n    from fast import f\nexcept ImportError:\n    return x\nreturn f(x)", _write("fast.py", "def f(x):\n    return x + 100\n")),
    "installed package": Case("fastlib.f(x)", _upgraded, "import fastlib", _PACKAGE, opaque=""),
    "dataclass default": Case("Box().n + x", ("steps.py", "n: int = 1", "n: int = 2"), "from dataclasses import dataclass\n@dataclass\nclass Box:\n    n: int = 1"),
    "dataclass factory": Case("sum(Box().n)", ("steps.py", "[1]", "[2]"), "from dataclasses import dataclass, field\n@dataclass\nclass Box:\n    n: list = field(default_factory=lambda: [1])"),
    "dataclass order of fields": Case("Box(1, 2).a", ("steps.py", "a: int\n    b: int", "b: int\n    a: int"), "from dataclasses import dataclass\n@dataclass\nclass Box:\n    a: int\n    b: int"),
    "post-init": Case("Box(1).n", ("steps.py", "+= 1", "+= 2"), "from dataclasses import dataclass\n@dataclass\nclass Box:\n    n: int\n    def __post_init__(self):\n        self.n += 1"),
    "enum value": Case("Kind.A.value + x", ("steps.py", "A = 1", "A = 2"), "import enum\nclass Kind(enum.Enum):\n    A = 1"),
    "enum order": Case("[each.name for each in Kind]", ("steps.py", "A = 1\n    B = 2", "B = 2\n    A = 1"), "import enum\nclass Kind(enum.Enum):\n    A = 1\n    B = 2"),
    "class attribute": Case("Tool.n + x", ("steps.py", "n = 1", "n = 2"), "class Tool:\n    n = 1"),
    "class attribute inherited": Case("Sub.n + x", ("steps.py", "n = 1", "n = 2"), "class Tool:\n    n = 1\nclass Sub(Tool):\n    pass"),
    "order of bases": Case("C().f()", ("steps.py", "(A, B)", "(B, A)"), "class A:\n    def f(self):\n        return 1\nclass B:\n    def f(self):\n        return 2\nclass C(A, B):\n    pass"),
    "super": Case("B().f(x)", ("steps.py", "x + 1", "x + 2"), "class A:\n    def f(self, x):\n        return x + 1\nclass B(A):\n    def f(self, x):\n        return super().f(x) * 2"),
    "abstract base": Case("B().f(x)", ("steps.py", "self.g(x) + 1", "self.g(x) + 2"), "import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def g(self, x): ...\n    def f(self, x):\n        return self.g(x) + 1\nclass B(A):\n    def g(self, x):\n        return x"),
    "relative import": Case("f(x)", ("pack/b.py", "x + 1", "x + 2"), "from pack.a import f", {"pack/__init__.py": "", "pack/a.py": "from .b import g\ndef f(x):\n    return g(x)\n", "pack/b.py": "def g(x):\n    return x + 1\n"}),
    "relative import inside a function": Case("f(x)", ("pack/b.py", "x + 1", "x + 2"), "from pack.a import f", {"pack/__init__.py": "", "pack/a.py": "def f(x):\n    from .b import g\n    return g(x)\n", "pack/b.py": "def g(x):\n    return x + 1\n"}),
    "renamed module": Case("f(x)", _renamed, "from near import f", {"near.py": "def f(x):\n    return x\n"}),
    "walrus": Case("[y for z in range(x) if (y := z * 2) > 1]", ("steps.py", "z * 2", "z * 3")),
    "match": Case("match x:\n    case 3:\n        return 'three'\n    case _:\n        return 'other'", ("steps.py", "case 3", "case 4")),
    "comprehension": Case("{a: b for a, b in zip('ab', range(x))}", ("steps.py", "'ab'", "'cd'")),
    "generator": Case("list(f(x))", ("steps.py", "yield i", "yield i + 1"), "def f(x):\n    for i in range(x):\n        yield i"),
    "asynchronous helper": Case("asyncio.run(f(x))", ("steps.py", "x + 1", "x + 2"), "import asyncio\nasync def f(x):\n    return x + 1"),
    "callable object": Case("f(x)", ("steps.py", "x + 1", "x + 2"), "class F:\n    def __call__(self, x):\n        return x + 1\nf = F()"),
    "cached function": Case("f(x)", ("steps.py", "x + 1", "x + 2"), "import functools\n@functools.cache\ndef f(x):\n    return x + 1"),
    "single dispatch": Case("f(x)", ("steps.py", "return 'int'", "return 'whole'"), "import functools\n@functools.singledispatch\ndef f(x):\n    return 'any'\n@f.register\ndef _(x: int):\n    return 'int'"),
    "property": Case("Tool().p", ("steps.py", "return 1", "return 2"), "class Tool:\n    @property\n    def p(self):\n        return 1"),
    "static method": Case("Tool.f(x)", ("steps.py", "x + 1", "x + 2"), "class Tool:\n    @staticmethod\n    def f(x):\n        return x + 1"),
    "class method": Case("Tool.f(x)", ("steps.py", "x + 1", "x + 2"), "class Tool:\n    @classmethod\n    def f(cls, x):\n        return x + 1"),
    "descriptor": Case("Tool().d", ("steps.py", "return 1", "return 2"), "class D:\n    def __get__(self, one, kind):\n        return 1\nclass Tool:\n    d = D()"),
    "metaclass": Case("Tool.f()", ("steps.py", "return 1", "return 2"), "class M(type):\n    def f(cls):\n        return 1\nclass Tool(metaclass=M):\n    pass"),
    "subclass hook": Case("Tool.n", ("steps.py", "cls.n = 1", "cls.n = 2"), "class A:\n    def __init_subclass__(cls):\n        cls.n = 1\nclass Tool(A):\n    pass"),
    "slots": Case("TOOL.n", ("steps.py", "Tool(1)", "Tool(2)"), "class Tool:\n    __slots__ = ('n',)\n    def __init__(self, n):\n        self.n = n\nTOOL = Tool(1)"),
    "named tuple default": Case("Pair().a", ("steps.py", "a: int = 1", "a: int = 2"), "from typing import NamedTuple\nclass Pair(NamedTuple):\n    a: int = 1"),
    "star import": Case("f(x)", ("near.py", "x + 1", "x + 2"), "from near import *", {"near.py": "def f(x):\n    return x + 1\n"}),
    "import under another name": Case("n.f(x)", ("near.py", "x + 1", "x + 2"), "import near as n", {"near.py": "def f(x):\n    return x + 1\n"}),
    "attribute made by a module": Case("near.anything", ("near.py", "return 1", "return 2"), "import near", {"near.py": "def __getattr__(name):\n    return 1\n"}),
    "text template": Case("TEMPLATE.format(x)", ("steps.py", "value {}", "number {}"), "TEMPLATE = 'value {}'"),
    "template object": Case("T.substitute(x=x)", ("steps.py", "value $x", "number $x"), "import string\nT = string.Template('value $x')"),
    "regular expression": Case("R.findall('a1b2')", ("steps.py", "[a-z]", "[0-9]"), "import re\nR = re.compile('[a-z]')"),
    "nested functions": Case("f(x)", ("steps.py", "x + 1", "x + 2"), "def f(x):\n    def g():\n        def h():\n            return x + 1\n        return h()\n    return g()"),
    "function in a dict": Case("TABLE['f'](x)", ("steps.py", "x + 1", "x + 2"), "def g(x):\n    return x + 1\nTABLE = {'f': g}"),
    "function as a key": Case("sorted([1, 2], key=f)", ("steps.py", "return n", "return -n"), "def f(n):\n    return n"),
    "default argument": Case("f(x)", ("steps.py", "n=1", "n=2"), "def f(x, n=1):\n    return x + n"),
    "seeded generator in the module": Case("R.random()", ("steps.py", "Random(1)", "Random(2)"), "import copy, random\nR = random.Random(1)"),
    "counter in the module": Case("dict(C)", ("steps.py", "'ab'", "'cd'"), "from collections import Counter\nC = Counter('ab')"),
    "operator object": Case("f((1, 2))", ("steps.py", "itemgetter(0)", "itemgetter(1)"), "import operator\nf = operator.itemgetter(0)"),
    "context manager": Case("with f() as n:\n    return n", ("steps.py", "yield 1", "yield 2"), "import contextlib\n@contextlib.contextmanager\ndef f():\n    yield 1"),
    "exception class": Case("try:\n    raise Wrong\nexcept Wrong as error:\n    return error.n", ("steps.py", "n = 1", "n = 2"), "class Wrong(Exception):\n    n = 1"),
    "nested constant": Case("CONFIG['a'][0]['b']", ("steps.py", "'b': 1", "'b': 2"), "CONFIG = {'a': [{'b': 1}]}"),
    "constant computed at import": Case("N + x", ("near.py", "LIMIT = 1", "LIMIT = 2"), "from near import N", {"near.py": "LIMIT = 1\nN = LIMIT * 10\n"}),
    "pandas constant": Case("int(S.sum())", ("steps.py", "[1, 2]", "[1, 3]"), "import pandas as pd\nS = pd.Series([1, 2])"),
    "name of a function in a table": Case("[f.__name__ for f in FS]", ("steps.py", "one", "two"), "def one():\n    pass\nFS = [one]"),
    "slots of a class": Case("list(Tool.__slots__)", ("steps.py", "('a',)", "('b',)"), "class Tool:\n    __slots__ = ('a',)"),
    "constant by vars": Case("vars(near)['N']", ("near.py", "N = 1", "N = 2"), "import near", {"near.py": "N = 1\n"}),
    "constant by getattr": Case("getattr(near, 'N')", ("near.py", "N = 1", "N = 2"), "import near", {"near.py": "N = 1\n"}),
    "docstring of the module": Case("__doc__", ("steps.py", "'one'", "'two'"), "__doc__ = 'one'"),
    "type of a field": Case("[str(each.type) for each in fields(Box)]", ("steps.py", "n: int", "n: float"), "from dataclasses import dataclass, fields\n@dataclass\nclass Box:\n    n: int = 1"),
    "metadata of a field": Case("[each.metadata['unit'] for each in fields(Box)]", ("steps.py", "'m'", "'km'"), "from dataclasses import dataclass, field, fields\n@dataclass\nclass Box:\n    n: int = field(default=1, metadata={'unit': 'm'})"),
    "order of registered functions": Case("[f(x) for f in FS]", ("steps.py", "FS = [a, b]", "FS = [b, a]"), "def a(x):\n    return 1\ndef b(x):\n    return 2\nFS = [a, b]"),
    # what a step reads
    "file deleted": Case("try:\n    return open('one.txt').read()\nexcept FileNotFoundError:\n    return 'gone'", _remove("one.txt"), files=_TEXTS),
    "file that comes": Case("Path('new.txt').read_text() if Path('new.txt').exists() else 'none'", _write("new.txt", "5")),
    "existence": Case("os.path.isfile('new.txt')", _write("new.txt", "5"), "import os"),
    "existence asked by a helper": Case("f()", _write("new.txt", "5"), "from near import f", {"near.py": "from pathlib import Path\ndef f():\n    return Path('new.txt').is_file()\n"}),
    "access": Case("os.access('new.txt', os.R_OK)", _write("new.txt", "5"), "import os"),
    "size": Case("os.path.getsize('one.txt')", _write("one.txt", "12345"), "import os", _TEXTS),
    "size by stat": Case("Path('one.txt').stat().st_size", _write("one.txt", "12345"), files=_TEXTS),
    "listing": Case("sorted(os.listdir('.')) and len(os.listdir('in'))", _write("in/b.txt", ""), "import os", {"in/a.txt": ""}),
    "glob": Case("sorted(each.name for each in Path('in').glob('*.txt'))", _write("in/b.txt", ""), files={"in/a.txt": ""}),
    "glob function": Case("sorted(glob.glob('in/*.txt'))", _write("in/b.txt", ""), "import glob", {"in/a.txt": ""}),
    "recursive glob": Case("sorted(each.name for each in Path('in').rglob('*.txt'))", _write("in/deep/b.txt", ""), files={"in/deep/a.txt": ""}),
    "walk": Case("sorted(name for _, _, names in os.walk('in') for name in names)", _write("in/deep/b.txt", ""), "import os", {"in/deep/a.txt": ""}),
    "sizes of entries": Case("sum(each.stat().st_size for each in os.scandir('in'))", _write("in/a.txt", "123"), "import os", {"in/a.txt": "1"}),
    "link retargeted": Case("open('link.txt').read()", _retarget, files=_TEXTS, before=_link),
    "link read": Case("os.readlink('link.txt')", _retarget, "import os", _TEXTS, _link),
    "link resolved": Case("Path('link.txt').resolve().name", _retarget, files=_TEXTS, before=_link),
    "environment": Case("os.environ['MODE']", lambda folder: None, "import os", variables=({"MODE": "a"}, {"MODE": "b"})),
    "environment with a default": Case("os.environ.get('MODE', 'none')", lambda folder: None, "import os", variables=({}, {"MODE": "b"})),
    "environment by getenv": Case("os.getenv('MODE')", lambda folder: None, "import os", variables=({"MODE": "a"}, {"MODE": "b"})),
    "environment, is it set": Case("'MODE' in os.environ", lambda folder: None, "import os", variables=({}, {"MODE": "b"})),
    "environment by a helper": Case("f()", lambda folder: None, "from near import f", {"near.py": "from os import environ\ndef f():\n    return environ.get('MODE')\n"}, variables=({"MODE": "a"}, {"MODE": "b"})),
    "environment in a path": Case("os.path.expandvars('$MODE/x')", lambda folder: None, "import os", variables=({"MODE": "a"}, {"MODE": "b"})),
    "environment at import": Case("MODE", lambda folder: None, "import os\nMODE = os.environ.get('MODE')", variables=({"MODE": "a"}, {"MODE": "b"})),
    "data in a package": Case("files('pack').joinpath('d.txt').read_text()", _write("pack/d.txt", "2"), "from importlib.resources import files", {"pack/__init__.py": "", "pack/d.txt": "1"}),
    "data by pkgutil": Case("pkgutil.get_data('pack', 'd.txt').decode()", _write("pack/d.txt", "2"), "import pkgutil", {"pack/__init__.py": "", "pack/d.txt": "1"}),
    "json": Case("json.load(open('c.json'))['a']", _write("c.json", '{"a": 2}'), "import json", {"c.json": '{"a": 1}'}),
    "yaml": Case("yaml.safe_load(open('c.yaml'))['a']", _write("c.yaml", "a: 2"), "import yaml", {"c.yaml": "a: 1"}),
    "toml": Case("tomllib.load(open('c.toml', 'rb'))['a']", _write("c.toml", "a = 2"), "import tomllib", {"c.toml": "a = 1"}),
    "ini": Case("c = configparser.ConfigParser()\nc.read('c.ini')\nreturn c['s']['a']", _write("c.ini", "[s]\na = 2"), "import configparser", {"c.ini": "[s]\na = 1"}),
    "zip": Case("zipfile.ZipFile('data.zip').read('member.txt').decode()", _zip("b"), "import zipfile", before=_zip("a")),
    "gzip": Case("gzip.open('data.gz').read().decode()", _gzip("b"), "import gzip", before=_gzip("a")),
    "pickle": Case("pickle.load(open('data.pkl', 'rb'))", _pickled(2), "import pickle", before=_pickled(1)),
    "sqlite": Case("c = sqlite3.connect('data.db')\nn = c.execute('SELECT a FROM t').fetchone()[0]\nc.close()\nreturn n", _sqlite(2), "import sqlite3", before=_sqlite(1)),
    "sqlite by address": Case("c = sqlite3.connect('file:data.db?mode=ro', uri=True)\nn = c.execute('SELECT a FROM t').fetchone()[0]\nc.close()\nreturn n", _sqlite(2), "import sqlite3", before=_sqlite(1)),
    "csv": Case("[row for row in csv.reader(open('data.csv'))]", _MORE, "import csv", _TABLE),
    "line by number": Case("linecache.getline('data.csv', 3)", _MORE, "import linecache", _TABLE),
    "low-level open": Case("f = os.open('data.csv', os.O_RDONLY)\nreturn os.read(f, 99).decode()", _MORE, "import os", _TABLE),
    "memory map": Case("with open('data.csv', 'rb') as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:\n    return m[:].decode()", _MORE, "import mmap", _TABLE),
    "thread": Case("with ThreadPoolExecutor(1) as pool:\n    return pool.submit(lambda: open('data.csv').read()).result()", _MORE, "from concurrent.futures import ThreadPoolExecutor", _TABLE),
    "name put together": Case("return open(f'da{\"ta\"}.csv').read()", _MORE, files=_TABLE),
    "numpy load": Case("int(np.load('data.npy')[0])", _array(7), "import numpy as np", before=_array(1)),
    "numpy map": Case("int(np.load('data.npy', mmap_mode='r')[0])", _array(7), "import numpy as np", before=_array(1)),
    "numpy text": Case("np.loadtxt('data.csv', skiprows=1).tolist()", _MORE, "import numpy as np", _TABLE),
    "numpy bytes": Case("np.fromfile('data.csv', dtype='u1').tolist()", _MORE, "import numpy as np", _TABLE),
    "pandas": Case("int(pd.read_csv('data.csv')['a'].sum())", _MORE, "import pandas as pd", _TABLE),
    "duckdb": Case("duckdb.sql(\"SELECT sum(a) FROM 'data.csv'\").fetchall()[0][0]", _MORE, "import duckdb", _TABLE),
    "duckdb, name put together": Case("name = 'data'\nreturn duckdb.sql(f\"SELECT sum(a) FROM read_csv('{name}.csv')\").fetchall()[0][0]", _MORE, "import duckdb", _TABLE),
    "duckdb, bare name": Case("duckdb.connect().execute('SELECT sum(a) FROM data.csv').fetchone()[0]", _MORE, "import duckdb", _TABLE),
    "duckdb, parameter": Case("duckdb.connect().execute('SELECT sum(a) FROM read_csv(?)', ['data.csv']).fetchone()[0]", _MORE, "import duckdb", _TABLE),
    "duckdb, pattern": Case("duckdb.connect().sql(\"SELECT sum(a) FROM 'in/*.csv'\").fetchall()[0][0]", _write("in/b.csv", "a\n9\n"), "import duckdb", {"in/a.csv": "a\n1\n"}),
    "duckdb, its own reader": Case("len(duckdb.read_csv('data.csv').fetchall()) + duckdb.read_csv('data.csv').fetchall()[1][0]", _MORE, "import duckdb", _TABLE),
    "duckdb, parquet": Case("duckdb.read_parquet('data.parquet').fetchall()[0][0]", _parquet(2), "import duckdb", before=_parquet(1)),
    "duckdb imported in the step": Case("import duckdb\nreturn duckdb.sql(\"SELECT sum(a) FROM 'data.csv'\").fetchall()[0][0]", _MORE, files=_TABLE),
    "connection in the module": Case("CONNECTION.execute(\"SELECT sum(a) FROM 'data.csv'\").fetchone()[0]", _MORE, "import duckdb\nCONNECTION = duckdb.connect()", _TABLE),
    "duckdb in a helper that comes late": Case("from near import f\nreturn f()", _MORE, "", {**_TABLE, "near.py": "import duckdb\ndef f():\n    return duckdb.sql(\"SELECT sum(a) FROM 'data.csv'\").fetchall()[0][0]\n"}),
    # what no key can cover is named
    "duckdb function taken by name": Case("sql(f\"SELECT sum(a) FROM '{'da' + 'ta'}.csv'\").fetchall()[0][0]", _MORE, "from duckdb import sql", _TABLE, opaque="files that duckdb opens"),
    "computed attribute": Case("getattr(near, 'f' + str(x))()", ("near.py", "return 1", "return 2"), "import near", {"near.py": "def f3():\n    return 1\n"}, opaque="code by a computed name (getattr)"),
    "computed import": Case("importlib.import_module('ne' + 'ar').f()", ("near.py", "return 1", "return 2"), "import importlib", {"near.py": "def f():\n    return 1\n"}, opaque="code by a computed name (importlib.import_module)"),
    "code in a text": Case("eval('1 + ' + str(x))", lambda folder: None, opaque="code by a computed name (eval)"),
    "another program": Case("subprocess.run(['cat', 'data.csv'], capture_output=True, text=True).stdout", _MORE, "import subprocess", _TABLE, opaque="another program (subprocess.run)"),
    "the whole environment": Case("len(dict(os.environ)) > 0", lambda folder: None, "import os", opaque="the environment as a whole"),
    "clock": Case("time.time() > 0", lambda folder: None, "import time", opaque="the clock (time.time)"),
    "random": Case("random.random() < 2", lambda folder: None, "import random", opaque="random numbers without a seed"),
    "unseeded generator": Case("float(np.random.default_rng().random()) < 2", lambda folder: None, "import numpy as np", opaque="random numbers without a seed"),
    "docstring of a helper": Case("f.__doc__", ("steps.py", "'one'", "'two'"), "def f():\n    'one'", opaque="what code says about itself (__doc__)"),
    "docstring of a parameter": Case("tell(f)", ("steps.py", "'one'", "'two'"), "def f():\n    'one'\ndef tell(g):\n    return g.__doc__", opaque="what code says about itself (__doc__)"),
    "docstring by inspect": Case("inspect.getdoc(f)", ("steps.py", "'one'", "'two'"), "import inspect\ndef f():\n    'one'", opaque="what code says about itself (inspect.getdoc)"),
    "source by inspect": Case("inspect.getsource(f)", ("steps.py", "# one", "# two"), "import inspect\ndef f():\n    # one\n    return 1", opaque="what code says about itself (inspect.getsource)"),
    "signature": Case("str(inspect.signature(f))", ("steps.py", "x: int", "x: float"), "import inspect\ndef f(x: int):\n    pass", opaque="what code says about itself (inspect.signature)"),
    "type hints of a class": Case("str(get_type_hints(C))", ("steps.py", "n: int", "n: float"), "from typing import get_type_hints\nclass C:\n    n: int = 1", opaque="what code says about itself (typing.get_type_hints)"),
    "annotations of a class": Case("str(C.__annotations__)", ("steps.py", "n: int", "n: float"), "class C:\n    n: int = 1", opaque="what code says about itself (__annotations__)"),
    "line of a function": Case("f.__code__.co_firstlineno", ("steps.py", "# one\n", "# one\n\n"), "# one\ndef f():\n    pass", opaque="what code says about itself (co_firstlineno)"),
    "module by a computed name": Case("sys.modules['ne' + 'ar'].N", ("near.py", "N = 1", "N = 2"), "import near, sys", {"near.py": "N = 1\n"}, opaque="code by a computed name (sys.modules)"),
    # edits without meaning
    "order of functions": Case("a(x) + b(x)", ("steps.py", "def a(x):\n    return x\ndef b(x):\n    return 1", "def b(x):\n    return 1\ndef a(x):\n    return x"), "def a(x):\n    return x\ndef b(x):\n    return 1", hits=True),
    "order of methods": Case("T().a() + T().b()", ("steps.py", "    def a(self):\n        return 1\n    def b(self):\n        return 2", "    def b(self):\n        return 2\n    def a(self):\n        return 1"), "class T:\n    def a(self):\n        return 1\n    def b(self):\n        return 2", hits=True),
    "order of imports": Case("os.sep + sys.byteorder", ("steps.py", "import os\nimport sys", "import sys\nimport os"), "import os\nimport sys", hits=True),
    "quotes": Case("f('a')", ("steps.py", "x + 'b'", 'x + "b"'), "def f(x):\n    return x + 'b'", hits=True),
    "parentheses": Case("f(x)", ("steps.py", "x + 1", "(x + 1)"), "def f(x):\n    return x + 1", hits=True),
    "type hints": Case("f(x)", ("steps.py", "def f(x):", "def f(x: int) -> int:"), "def f(x):\n    return x + 1", hits=True),
    "docstring of a method": Case("T().a()", ("steps.py", "    def a(self):\n", "    def a(self):\n        '''Say one.'''\n"), "class T:\n    def a(self):\n        return 1", hits=True),
    "comment in a data class": Case("B().n", ("steps.py", "n: int = 1", "n: int = 1  # one"), "from dataclasses import dataclass\n@dataclass\nclass B:\n    n: int = 1", hits=True),
    "constant nobody names": Case("f(x)", ("steps.py", "OTHER = 1", "OTHER = 2"), "OTHER = 1\ndef f(x):\n    return x", hits=True),
    "another module": Case("near.f(x)", ("near.py", "def g(x):\n    return 1", "def g(x):\n    return 2"), "import near", {"near.py": "def f(x):\n    return x\ndef g(x):\n    return 1\n"}, hits=True),
    "variable nobody reads": Case("os.environ.get('MODE')", lambda folder: None, "import os", variables=({"OTHER": "a"}, {"OTHER": "b"}), hits=True),
    "file nobody reads": Case("open('one.txt').read()", _write("two.txt", "x"), files=_TEXTS, hits=True),
}  # fmt: skip


class Server:
    """Runs projects, each run in a fork of a process that has everything heavy loaded."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def run(self, folder: Path, state: Path, variables: dict[str, str]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        state.mkdir(exist_ok=True)
        self._process.stdin.write(json.dumps([str(folder), str(state), variables]) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize("name", _CASES)
def test_result_is_never_stale(server: Server, tmp_path: Path, name: str) -> None:
    case = _CASES[name]
    folder = tmp_path / "project"
    for file, text in {**case.files, "steps.py": _steps(case)}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    if case.before is not None:
        case.before(folder)
    state = tmp_path / "state"
    first = server.run(folder, state, case.variables[0])
    assert not first["cached"]
    again = server.run(folder, state, case.variables[0])
    assert again["cached"], f"nothing changed, and yet: {again['reason']}"
    if isinstance(case.edit, tuple):
        file, old, new = case.edit
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
    else:
        case.edit(folder)
    seen = server.run(folder, state, case.variables[1])
    if case.opaque:
        assert case.opaque in " | ".join(seen["opaque"])
        return
    fresh = server.run(folder, tmp_path / "fresh", case.variables[1])
    assert seen["value"] == fresh["value"]
    assert seen["cached"] is case.hits, seen["reason"]
    assert name == "installed package" or case.hits or seen["value"] != first["value"], "the edit changes nothing"


def test_the_battery_is_wide() -> None:
    assert sum(not each.hits and not each.opaque for each in _CASES.values()) >= 90


_NOTEBOOK = r"""
import json, linecache, sys, types
from pathlib import Path
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import InProcessExecutor
from mainspring.store.sqlite import SqliteStore

# As IPython does it: a module without a file stands for the script, and each cell is code with a name of its own.
user = types.ModuleType("__main__")
sys.modules["__main__"] = user
numbers = iter(range(100))

def cell(source):
    name = f"<ipython-input-{next(numbers)}-abc>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), vars(user))

context = PipelineContext(
    SqliteStore(Path("store.db")), LocalArtifactStore(Path("artifacts")), executor=InProcessExecutor()
)

def run():
    out = user.main.run(context)
    return [out.result, out.steps[0].cached]

HELPER = "RATE = 2\ndef helper(x):\n    return x * RATE\n"
STEP = "@ms.step\ndef compute(x: int = 3) -> int:\n    return helper(x)\n@ms.pipeline\ndef main() -> int:\n    return compute()\n"
cell("import mainspring as ms\n")
cell(HELPER)
cell(STEP)
said = [run(), run()]
cell(STEP)
said.append(run())
cell("# a comment\n" + HELPER)
said.append(run())
cell("RATE = 5\n")
said.append(run())
cell(HELPER.replace("x * RATE", "x + RATE"))
said.append(run())
print(json.dumps(said))
"""


def test_cells_of_a_notebook(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NOTEBOOK], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    again = subprocess.run(
        [sys.executable, "-c", _NOTEBOOK], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [[6, False], [6, True], [6, True], [6, True], [15, False], [5, False]]
    assert all(cached for _, cached in json.loads(again.stdout)), "another kernel finds it all"
