#!/usr/bin/env python3
"""What encryption at rest costs: an object put, read whole, streamed and had as a file, beside the plain store.

Both stores take turns in one process, on one folder's disk; each figure is the median of --rounds, of CPU seconds (user
and system, all threads) and of elapsed time, encrypted over plain. A round's object is new, so that it is written.

    .venv/bin/python benchmarks/encryption.py [--mb N] [--rounds N] [--folder FOLDER] [--json]
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mainspring.artifacts.opening import keys_named, open_artifacts
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.secret_keys import make_key
from mainspring.domain.ids import Digest

STEPS = ("put", "read", "stream", "file", "file again")
_PIECE_BYTES = 1 << 20


def main() -> None:
    """Measure, and print the ratios."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--mb", type=int, default=100, help="size of the object in MB (10^6 bytes)")
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--folder", type=Path, default=None, help="on the disk to try (default: of temporary files)")
    words.add_argument("--json", action="store_true")
    given = words.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="mainspring-encryption-") as scratch:
        os.environ["MAINSPRING_KEYS"], os.environ["MAINSPRING_ENCRYPTION"] = f"{scratch}/keys", "benchmark"
        make_key("benchmark")
        ratios = measure(Path(scratch), given.mb * 1_000_000, given.rounds)
    if given.json:
        print(json.dumps({"mb": given.mb, "rounds": given.rounds, "encrypted over plain": ratios}))
        return
    print(f"an object of {given.mb} MB, encrypted over plain, medians of {given.rounds} rounds")
    for step, (cpu, elapsed) in ratios.items():
        print(f"{step:<12} {cpu:6.2f} x the CPU   {elapsed:6.2f} x the time")


def measure(scratch: Path, n_bytes: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return for each step the ratios of CPU and of elapsed time."""
    stores = {
        "plain": open_artifacts(str(scratch / "plain"), scratch / "no-cache", ()),
        "encrypted": open_artifacts(str(scratch / "encrypted"), scratch / "no-cache", keys_named()),
    }
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number in range(rounds):
        source = scratch / "source.bin"
        with source.open("wb") as file:
            file.write(os.urandom(n_bytes))
            os.fsync(file.fileno())  # else the first one to put pays for it
        for name, store in sorted(stores.items(), reverse=number % 2 == 1):
            digest = store.put_bytes(b"the first put makes folders")
            for step in STEPS:
                begun = time.process_time(), time.perf_counter()
                digest = _do(step, store, source, digest)
                taken.setdefault((name, step), []).append(
                    (time.process_time() - begun[0], time.perf_counter() - begun[1])
                )
    half: Callable[[list[float]], float] = statistics.median

    def ratio(step: str, which: int) -> float:
        encrypted, plain = ([each[which] for each in taken[name, step]] for name in ("encrypted", "plain"))
        return round(half(encrypted) / half(plain), 2)

    return {step: (ratio(step, 0), ratio(step, 1)) for step in STEPS}


def _do(step: str, store: ArtifactStore, source: Path, digest: Digest) -> Digest:
    if step == "put":
        return store.put_file(source)
    if step == "read":
        store.read_bytes(digest)
    elif step == "stream":
        with store.open(digest) as stream:
            while stream.read(_PIECE_BYTES):
                pass
    else:  # had as a file, and read
        with store.path_of(digest).open("rb") as file:
            while file.read(_PIECE_BYTES):
                pass
    return digest


if __name__ == "__main__":
    main()
