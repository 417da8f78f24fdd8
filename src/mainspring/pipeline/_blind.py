"""What a fingerprint cannot see, as one table: the names a step reaches for whose results come from outside its key.

A name in this table does not stop a result from being kept. It is named with the result, so that `plan`, the audit of
the cache and the reader of a page know what the key does not cover.
"""

from collections.abc import Iterable
from types import ModuleType

from mainspring.pipeline._code import Chain

__all__ = ["blind_spot", "reads_in_native_code", "self_descriptions"]

_CLOCK = "the clock"
_RANDOM = "random numbers without a seed"
_NETWORK = "the network"
_ENVIRONMENT = "the environment"
_COMPUTED = "code by a computed name"
_CHILD = "another program"
_MACHINE = "the machine"
_TYPED = "what is typed"
_SEED = "the hash seed or an address in memory"
_ITSELF = "what code says about itself"

#: Full names, as module and attributes; a name that ends in a dot covers the whole module.
_NAMES = {
    "time.time": _CLOCK,
    "time.time_ns": _CLOCK,
    "time.perf_counter": _CLOCK,
    "time.monotonic": _CLOCK,
    "time.localtime": _CLOCK,
    "time.gmtime": _CLOCK,
    "os.urandom": _RANDOM,
    "posix.environ": _ENVIRONMENT,
    "os.cpu_count": _MACHINE,
    "os.uname": _MACHINE,
    "os.getpid": _MACHINE,
    "os.getloadavg": _MACHINE,
    "platform.": _MACHINE,
    "multiprocessing.cpu_count": _MACHINE,
    "psutil.": _MACHINE,
    "sys.stdin": _TYPED,
    "os.system": _CHILD,
    "os.popen": _CHILD,
    "uuid.uuid1": _RANDOM,
    "uuid.uuid4": _RANDOM,
    "secrets.": _RANDOM,
    "random.": _RANDOM,
    "numpy.random.": _RANDOM,
    "subprocess.": _CHILD,
    "socket.": _NETWORK,
    "http.client.": _NETWORK,
    "urllib.request.": _NETWORK,
    "urllib3.": _NETWORK,
    "requests.": _NETWORK,
    "httpx.": _NETWORK,
    "aiohttp.": _NETWORK,
    "boto3.": _NETWORK,
    "importlib.import_module": _COMPUTED,
    "importlib.util.": _COMPUTED,
    "runpy.": _COMPUTED,
    "sys.modules": _COMPUTED,
    "annotationlib.": _ITSELF,
    "inspect.currentframe": _ITSELF,
    "inspect.get_annotations": _ITSELF,
    "inspect.getcomments": _ITSELF,
    "inspect.getdoc": _ITSELF,
    "inspect.getmembers": _ITSELF,
    "inspect.getsource": _ITSELF,
    "inspect.getsourcelines": _ITSELF,
    "inspect.signature": _ITSELF,
    "inspect.stack": _ITSELF,
    "sys._getframe": _ITSELF,
    "traceback.": _ITSELF,
    "typing.get_type_hints": _ITSELF,
}
# Notes that Python keeps on code for people. The key leaves them out, so that an edited comment is no edit.
_NOTES_ON_CODE = frozenset(
    {"__annotations__", "__code__", "__doc__", "__firstlineno__", "co_firstlineno", "co_lines", "f_lineno", "tb_lineno"}
)
_BUILTINS = {
    "eval": _COMPUTED,
    "exec": _COMPUTED,
    "__import__": _COMPUTED,
    "globals": _COMPUTED,
    "compile": _COMPUTED,
    "input": _TYPED,
    "hash": _SEED,
    "id": _SEED,
}
# Methods of time classes that ask the clock, whatever the class is called here.
_ASKS_CLOCK = frozenset({"now", "utcnow", "today"})
# What takes a seed, or is only a name for a type, in the modules of random numbers.
_SEEDED = frozenset({"seed", "Random", "Generator", "RandomState", "SeedSequence", "PCG64", "default_rng", "random"})

#: Libraries that open files below Python, where no audit hook sees it, and that `_watched` does not know.
_NATIVE_READERS = frozenset({"fastparquet", "h5py", "netCDF4", "tables", "xarray"})


def blind_spot(chain: Chain, start: object) -> str | None:
    """Say what lies behind a chain of names that the key cannot cover; None where it covers all.

    `start` is what the first name stands for in the module of the code (None for a builtin).
    """
    first, rest = chain.names[0], chain.names[1:]
    if start is None:
        if first in _BUILTINS:
            return _said(_BUILTINS[first], first)
        if first == "getattr" and not chain.has_text:
            return _said(_COMPUTED, "getattr")
        return None
    if isinstance(start, ModuleType):
        return _by_name(f"{start.__name__}.{'.'.join(rest)}", chain.called_bare)
    if isinstance(start, type) and rest and rest[0] in _ASKS_CLOCK:
        return _said(_CLOCK, f"{start.__name__}.{rest[0]}")
    owner = getattr(start, "__module__", None)
    if owner is None:
        # A method of a hidden instance, such as random.random, tells its module only through that instance.
        owner = type(getattr(start, "__self__", None)).__module__
    name = getattr(start, "__name__", None)
    if isinstance(owner, str) and isinstance(name, str) and not isinstance(start, type):
        return _by_name(f"{_public(owner)}.{name}", chain.called_bare)
    return None


def self_descriptions(attributes: Iterable[str]) -> list[str]:
    """Return what lies behind those of the attribute names that ask code for the notes on it, such as ``f.__doc__``."""
    return [_said(_ITSELF, name) for name in sorted(_NOTES_ON_CODE.intersection(attributes))]


def reads_in_native_code(import_names: Iterable[str]) -> list[str]:
    """Return those of the named libraries that open files where we cannot see it.

    A name that ends in a dot stands for a function taken from its library by name: it was bound before we could watch.
    """
    named = {each.rstrip(".") for each in import_names if each.endswith(".")}
    return sorted(_NATIVE_READERS.intersection(import_names) | named)


def _by_name(name: str, called_bare: bool) -> str | None:
    for known, what in _NAMES.items():
        if name == known or (known.endswith(".") and name.startswith(known) and name != known):
            if what == _RANDOM and name.rpartition(".")[0] in ("random", "numpy.random"):
                leaf = name.rpartition(".")[2]
                if leaf in _SEEDED and not (called_bare and leaf != "seed") and name != "random.random":
                    return None
            return _said(what, name)
    return None


def _public(module: str) -> str:
    """Return the name people import a C module by."""
    known = {
        "posix": "os",
        "nt": "os",
        "numpy.random.mtrand": "numpy.random",
        "numpy.random._generator": "numpy.random",
    }
    return known.get(module, module)


def _said(what: str, name: str) -> str:
    return f"{what} ({name})"
