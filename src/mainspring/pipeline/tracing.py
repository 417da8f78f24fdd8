"""What a step reads, noticed while it runs.

Python reports every file it opens to an audit hook (PEP 578). The hook is put in once, at the first traced step, and
costs one look at an empty list afterwards. A file the step itself wrote first is no input; a file that was looked for
and not there is one, because its coming would change the result. What leaves no audit event (questions such as
"is there such a file", the environment, libraries that open files below Python) is told by `_watched`.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import cast

from mainspring.pipeline._origin import origin_of_file
from mainspring.pipeline._watched import Watch, asks_from
from mainspring.pipeline.reads import ABSENT, Read, ReadKind, Stamp, StampCache, answer_of, read_stamp

__all__ = ["ReadTrace", "tracing", "unwatched"]


@dataclass(slots=True)
class ReadTrace:
    """What one step was seen to ask. `notes` say what else left the process.

    `opened` has what is hashed when the step is done; `answered` what the step was told at the time it asked.
    """

    folder: str
    opened: dict[tuple[ReadKind, str], Stamp | None] = field(default_factory=dict)
    answered: dict[tuple[ReadKind, str], str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)

    def reads(self, stamps: StampCache) -> tuple[Read, ...]:
        """Hash what was opened and not written by the step, sorted by path."""
        found = [Read(kind, path, answer_of(kind, path, stamps)) for kind, path in self.opened]
        found += [Read(kind, path, answer) for (kind, path), answer in self.answered.items()]
        return tuple(sorted(found))

    def changed_meanwhile(self) -> list[str]:
        """Return the files that are not what they were when the step opened them: their content was a moving target."""
        return [path for (kind, path), stamp in self.opened.items() if kind == "file" and read_stamp(path) != stamp]


# The hook cannot be taken out again (PEP 578), so there is one for the process and a list of who listens. A step's own
# threads report to every listener: an input too many costs a re-run, one too few a wrong result.
_listening: list[ReadTrace] = []
_unwatched: set[int] = set()
_hooked = False
_hook_lock = threading.Lock()
_QUIET_FOLDERS = ("/proc/", "/sys/", "/dev/")
_NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.sendto", "http.client.connect", "urllib.Request"})
_CHILDREN = frozenset({"subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.exec", "pty.spawn"})
_FILES = frozenset({"open", "os.listdir", "os.scandir", "sqlite3.connect", "os.rename", "os.link", "os.symlink",
                    "os.mkdir", "os.remove"})  # fmt: skip
_EVENTS = _FILES | _NETWORK | _CHILDREN


@contextlib.contextmanager
def tracing() -> Iterator[ReadTrace]:
    """Notice what is opened within the block, by any thread of this process."""
    global _hooked
    with _hook_lock:
        if not _hooked:
            sys.addaudithook(_hook)
            _hooked = True
    trace = ReadTrace(os.getcwd())
    with _hook_lock:
        if not _listening:
            _watch.begin()
        _listening.append(trace)
    try:
        yield trace
    finally:
        with _hook_lock:
            _listening[:] = [each for each in _listening if each is not trace]
            if not _listening:
                _watch.end()


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Leave out what this thread opens: it works for the engine, and not for the step that is being traced."""
    _unwatched.add(threading.get_ident())
    try:
        yield
    finally:
        _unwatched.discard(threading.get_ident())


def _hook(event: str, args: tuple[object, ...]) -> None:
    # Most events are none of ours, tens of thousands in an import; looking at a frame is an event too.
    if event not in _EVENTS or not _listening or threading.get_ident() in _unwatched:
        return
    if sys._getframe(1).f_code.co_filename.startswith(_READS_FOR_US):
        return
    if event == "open":
        _note_open(*args[:3])
    elif event == "os.listdir":
        _note("listing", args[0])
    elif event == "os.scandir":
        # Whoever scans a folder with his own hands may ask each entry for its size and time, which nobody sees.
        _note("entries" if asks_from(sys._getframe(1)) == set() else "listing", args[0])
    elif event == "sqlite3.connect":
        _note_database(args[0])
    elif event == "os.rename":
        _note_moved(args[0])
        _note_written(args[1])
    elif event in ("os.link", "os.symlink"):
        _note_made(args[1])
    elif event == "os.mkdir":
        _note_made(args[0])
    elif event == "os.remove":
        _note_written(args[0])
    elif event in _NETWORK:
        _note_other("network")
    elif event in _CHILDREN:
        _note_other("child process")


def _note_open(path: object, mode: object, flags: object) -> None:
    """Tell reading from writing. Adding to the end of a file or into it reads nothing; making it anew hides the old."""
    if isinstance(mode, str):
        makes = mode.startswith("w") or (mode.startswith("x") and _is_absent(path))
        reads = "r" in mode or "+" in mode
    else:
        bits = flags if isinstance(flags, int) else 0
        makes = bool(bits & os.O_TRUNC) or (bool(bits & (os.O_EXCL | os.O_CREAT)) and _is_absent(path))
        reads = bits & (os.O_WRONLY | os.O_RDWR) != os.O_WRONLY
    if makes:
        _note_written(path)
    elif reads:
        _note("file", path)


def _is_absent(path: object) -> bool:
    text = _text_of(path)
    return text is not None and not os.path.exists(text)


def _text_of(path: object) -> str | None:
    """Return an opened path as text; None for a file handle."""
    if path is None:
        return "."
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None


def _note(kind: ReadKind, path: object) -> None:
    text = _text_of(path)
    if text is None or text == ":memory:" or text.startswith(_QUIET_FOLDERS):
        return
    if (kind == "listing" or text.endswith(_CODE_FILES)) and _asks_the_import_system():
        return
    for trace in _listening:
        whole = os.path.join(os.getcwd(), text)
        named = text if os.path.isabs(text) or os.getcwd() == trace.folder else whole
        if os.path.normpath(whole) in trace.written or (kind, named) in trace.opened:
            continue
        # What Python and its packages read of their own is covered by their versions.
        if kind == "file" and origin_of_file(whole) != "project":
            continue
        if kind == "file" and os.path.isdir(whole):
            continue
        trace.opened[kind, named] = read_stamp(whole) if kind == "file" else None


def _note_database(path: object) -> None:
    text = _text_of(path)
    if text is not None and text.startswith("file:"):
        text = text.removeprefix("file:").partition("?")[0]
    if text and text != ":memory:":
        _note("file", text)


def _note_question(kind: str, path: str) -> None:
    """Take down what `_watched` noticed, with the answer as it is now: the step may change it later."""
    if threading.get_ident() in _unwatched:
        return
    if kind in ("environment", "network"):
        _note_other("the environment as a whole" if kind == "environment" else kind)
        return
    if kind in ("file", "folder", "matches"):
        _note(cast("ReadKind", kind), path)
        return
    if path.startswith(_QUIET_FOLDERS):
        return
    asked = cast("ReadKind", kind)
    for trace in _listening:
        if (asked, path) not in trace.answered and not _is_own(path, trace):
            trace.answered[asked, path] = answer_of(asked, path, _NO_STAMPS)


def _is_own(path: str, trace: ReadTrace) -> bool:
    """Whether a path is, or lies in, something the step itself has made."""
    whole = Path(os.path.normpath(os.path.join(os.getcwd(), path)))
    return any(str(each) in trace.written for each in (whole, *whole.parents))


def _note_written(path: object) -> None:
    text = _text_of(path)
    if text is not None:
        for trace in _listening:
            trace.written.add(os.path.normpath(os.path.join(os.getcwd(), text)))


def _note_moved(path: object) -> None:
    """Take down that a file is gone from where it was: if one is there again, the step has something to do."""
    text = _text_of(path)
    if text is not None:
        for trace in _listening:
            if not _is_own(text, trace):
                trace.answered["presence", text] = ABSENT


def _note_made(path: object) -> None:
    """Take down what is made only where there is nothing: the event comes before the call, which may yet fail."""
    if _is_absent(path):
        _note_written(path)


def _note_other(what: str) -> None:
    for trace in _listening:
        trace.notes[what] = None


def _asks_the_import_system() -> bool:
    """Whether the file is opened for an import, a traceback or package metadata: code is followed by other means.

    Only the caller itself counts, not who called it: a whole pipeline may be running inside an import.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.endswith(_PASSES_ON):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_READS_CODE)


_watch = Watch(_note_question)
_NO_STAMPS = StampCache(lambda path: None, lambda: 0)
# What an import opens. Other files that come through the import system are data in a package.
_CODE_FILES = (".py", ".pyc", ".pyd", ".so", ".pth", ".zip", ".egg", "METADATA", "RECORD", "entry_points.txt")

# Our own looks, at what a step in another thread has asked for.
_READS_FOR_US = (
    __file__,
    os.path.join(os.path.dirname(__file__), "reads.py"),
    os.path.join(os.path.dirname(os.path.dirname(__file__)), "artifacts"),
    os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "scratch.py"),
)

_LIBRARY = os.path.dirname(os.__file__)
# What stands between the one who wants a file and the opening of it: this module and the standard path classes.
_PASSES_ON = (
    __file__,
    os.sep + "pathlib.py",
    os.path.join("pathlib", "_local.py"),
    os.path.join(_LIBRARY, "codecs.py"),
)
_READS_CODE = (
    "<frozen importlib",
    "<frozen zipimport",
    os.path.join(_LIBRARY, "importlib", "metadata"),
    os.path.join(_LIBRARY, "tokenize.py"),
    os.path.join(_LIBRARY, "linecache.py"),
    os.path.join(_LIBRARY, "pkgutil.py"),
)
