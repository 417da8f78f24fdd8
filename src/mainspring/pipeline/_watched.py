"""What leaves no audit event and is noticed all the same: questions to the system, and native readers.

Python reports what it opens, not whether a file was asked for (`os.stat`), what a link points to, or which variable of
the environment was read; and a library that opens files below Python reports nothing. While a step is traced, the
functions that answer such questions are replaced by ones that tell the trace first; afterwards they are put back. What
an installed package asks on its own account is left out, as its version stands for it; what it reads is not.
"""

import contextlib
import functools
import glob
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

from mainspring.pipeline._origin import origin_of_file

__all__ = ["NATIVE_READERS", "Note", "Watch", "asks_from", "original_of"]

#: Is told of the kind and the name of what was asked for.
Note = Callable[[str, str], None]

# Functions that only ask what is there; any other question is taken to be about size and time too.
_ASKS_PRESENCE = frozenset(
    {"exists", "lexists", "isfile", "isdir", "islink", "ismount", "is_file", "is_dir", "is_symlink", "is_mount",
     "access", "realpath", "_joinrealpath", "resolve", "samefile"}
)  # fmt: skip
# Asked on the way to writing something; the answer is no input.
_WRITES = frozenset({"makedirs", "mkdir", "mkdtemp", "mkstemp", "rmtree", "copyfile", "copy", "copy2", "move", "touch"})

#: Where libraries take the names of files they open below Python: module, class or "", functions.
NATIVE_READERS: dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "duckdb": (
        ("duckdb", "", ("sql", "query", "execute", "executemany", "query_df", "from_query", "from_csv_auto",
                        "from_parquet", "read_csv", "read_json", "read_parquet", "connect")),
        ("duckdb", "DuckDBPyConnection", ("sql", "query", "execute", "executemany", "from_query", "from_csv_auto",
                                          "from_parquet", "read_csv", "read_json", "read_parquet")),
        ("duckdb", "DuckDBPyRelation", ("query",)),
    ),
    "polars": (
        ("polars", "", ("read_avro", "read_csv", "read_csv_batched", "read_excel", "read_ipc", "read_ipc_schema",
                        "read_ipc_stream", "read_json", "read_lines", "read_ndjson", "read_ods", "read_parquet",
                        "read_parquet_metadata", "read_parquet_schema", "scan_csv", "scan_ipc", "scan_lines",
                        "scan_ndjson", "scan_parquet", "sql")),
        ("polars", "SQLContext", ("execute",)),
    ),
    "pyarrow": (
        ("pyarrow", "", ("OSFile", "input_stream", "memory_map")),
        ("pyarrow.parquet", "", ("read_metadata", "read_pandas", "read_schema", "read_table")),
        ("pyarrow.parquet", "ParquetFile", ("__init__",)),
        ("pyarrow.parquet", "ParquetDataset", ("__init__",)),
        ("pyarrow.csv", "", ("open_csv", "read_csv")),
        ("pyarrow.json", "", ("open_json", "read_json")),
        ("pyarrow.feather", "", ("read_feather", "read_table")),
        ("pyarrow.orc", "", ("read_table",)),
        ("pyarrow.orc", "ORCFile", ("__init__",)),
        ("pyarrow.dataset", "", ("csv_dataset", "dataset", "parquet_dataset")),
    ),
}  # fmt: skip

#: A name that ends so and leads to no file is one that was looked for, and whose coming would change the result.
_DATA_ENDINGS = frozenset({
    ".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson", ".arrow", ".feather", ".orc", ".db", ".sqlite", ".duckdb",
    ".gz", ".zst", ".txt",
})  # fmt: skip
_MARK = "_mainspring_original"
_QUOTED = re.compile(r"'([^'\n]{1,1000})'|\"([^\"\n]{1,1000})\"|([\w./~-]+\.\w+)")


def original_of(value: object) -> Any:  # what stood there before
    """Return what a replaced function stands for, and anything else as it is."""
    return getattr(value, _MARK, value) if callable(value) else value


class Watch:
    """The replacements. One per process: `begin` and `end` are called as the first trace starts and the last ends."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._undo: list[Callable[[], None]] = []
        self._iterating = 0
        self._local = threading.local()

    def begin(self) -> None:
        """Put the replacements in."""
        self._replace(os, "stat", lambda original: self._asking(original, "stat"))
        self._replace(os, "lstat", lambda original: self._asking(original, "lstat"))
        self._replace(os, "access", lambda original: self._asking(original, "access"))
        self._replace(os, "readlink", lambda original: self._asking(original, "readlink"))
        self._replace(os, "getcwd", self._asking_folder)
        environ = type(os.environ)
        self._replace(environ, "__getitem__", self._reading_variable)
        self._replace(environ, "__iter__", self._reading_environment)
        for name in {module for places in NATIVE_READERS.values() for module, _, _ in places} & sys.modules.keys():
            self._watch_module(name)
        sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Take the replacements out."""
        sys.meta_path[:] = [each for each in sys.meta_path if each is not self]
        while self._undo:
            self._undo.pop()()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Let the others find a module, and look at a native reader once it has run: a step may import it first."""
        if name.partition(".")[0] not in NATIVE_READERS:
            return None
        found = (each.find_spec(name, path, target) for each in sys.meta_path if each is not self)
        spec = next((each for each in found if each is not None), None)
        loader: Any = getattr(spec, "loader", None)  # of any class
        if hasattr(loader, "exec_module"):
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                del loader.exec_module
                run(module)
                if self in sys.meta_path:
                    self._watch_module(name)

            with contextlib.suppress(AttributeError):  # a loader that is a class, as of the builtin modules
                loader.exec_module = exec_module
        return spec

    def _watch_module(self, name: str) -> None:
        for module_name, class_name, functions in NATIVE_READERS[name.partition(".")[0]]:
            module = sys.modules[name]
            holder = getattr(module, class_name, None) if class_name else module
            if module_name == name and holder is not None:
                for function in functions:
                    if hasattr(holder, function):
                        self._replace(holder, function, self._reading_files)

    def _replace(self, holder: Any, name: str, made: Callable[[Any], Any]) -> None:  # a module or a class
        original = getattr(holder, name)
        replacement = made(original)
        setattr(replacement, _MARK, original)
        inherited = name not in vars(holder)
        setattr(holder, name, replacement)
        for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if any(original is each for each in known):  # by identity: not every function can be hashed
                known.add(replacement)

        def undo() -> None:
            if getattr(holder, name, None) is not replacement and vars(holder).get(name) is not replacement:
                return  # somebody put something else there meanwhile, and it is theirs
            if inherited:
                delattr(holder, name)
            else:
                setattr(holder, name, original)

        self._undo.append(undo)

    def _asked(self, frame: FrameType) -> set[str] | None:
        if getattr(self._local, "is_asking", False):  # finding out who asks asks the file system itself
            return None
        self._local.is_asking = True
        try:
            return asks_from(frame)
        finally:
            self._local.is_asking = False

    def _asking(self, original: Any, name: str) -> Any:
        @functools.wraps(original)
        def ask(path: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, str | bytes | os.PathLike):
                asked = self._asked(sys._getframe(1))
                if asked is not None and _WRITES.isdisjoint(asked):
                    kind = "link" if name == "readlink" else "presence"
                    if kind == "presence" and name != "access" and _ASKS_PRESENCE.isdisjoint(asked):
                        kind = "details"
                    self._note(kind, os.fsdecode(path))
            return original(path, *args, **kwargs)

        return ask

    def _asking_folder(self, original: Any) -> Any:
        @functools.wraps(original)
        def getcwd() -> str:
            asked = self._asked(sys._getframe(1))
            if asked is not None and not {"abspath", "absolute"} & asked:
                self._note("folder name", ".")
            return str(original())

        return getcwd

    def _reading_variable(self, original: Any) -> Any:
        @functools.wraps(original)
        def getitem(environ: Any, key: Any) -> Any:
            if not self._iterating and isinstance(key, str | bytes) and self._asked(sys._getframe(1)) is not None:
                self._note("environment variable", os.fsdecode(key))
            return original(environ, key)

        return getitem

    def _reading_environment(self, original: Any) -> Any:
        @functools.wraps(original)
        def iterate(environ: Any) -> Iterator[Any]:
            if self._asked(sys._getframe(1)) is not None:
                self._note("environment", "")
            self._iterating += 1  # a copy of everything asks for each variable: that is one question
            try:
                yield from original(environ)
            finally:
                self._iterating -= 1

        return iterate

    def _reading_files(self, original: Any) -> Any:
        @functools.wraps(original)
        def read(*args: Any, **kwargs: Any) -> Any:
            # settings name folders too, and nothing is read from them: where an engine may spill, say
            asked = {name: value for name, value in kwargs.items() if name != "config"}
            for text in _texts((args, asked), 3):
                self._note_named(text)
            return original(*args, **kwargs)

        return read

    def _note_named(self, text: str) -> None:
        if "://" in text:
            self._note("network", "")
        candidates = {text} | {next(filter(None, found)) for found in _QUOTED.findall(text)}
        for each in sorted(candidates):
            if not each or len(each) > 1000 or "\n" in each or "\0" in each:
                continue
            path = os.path.expanduser(each) if each.startswith("~") else each
            if os.path.isdir(path):
                self._note("folder", path)
            elif os.path.exists(path):
                self._note("file", path)
            elif glob.has_magic(path) and glob.glob(path, recursive=True):
                self._note("matches", path)
                for match in glob.glob(path, recursive=True):
                    self._note("file", match)
            elif os.path.splitext(path)[1].lower() in _DATA_ENDINGS:
                self._note("presence", path)


def asks_from(frame: FrameType | None) -> set[str] | None:
    """Return the names of the standard functions between project code and a question; None if a package asks."""
    passed: set[str] = set()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return None
        if not file.startswith("<frozen "):
            origin = "project" if file.startswith("<") else origin_of_file(file)
            if origin == "package" or file.endswith(("tempfile.py", "linecache.py")):
                return None
            if origin == "project":
                return passed
        passed.add(frame.f_code.co_name)
        frame = frame.f_back
    return None


def _texts(value: object, depth: int) -> Iterator[str]:
    """Yield the texts and paths among the arguments of a call."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, os.PathLike):
        yield os.fsdecode(value)
    elif depth and isinstance(value, dict):
        yield from _texts(list(value.values()), depth)
    elif depth and isinstance(value, list | tuple | set):
        for each in value:
            yield from _texts(each, depth - 1)
