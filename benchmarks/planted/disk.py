"""A small file system for the journals, which can be filled to its last byte; a limit of file sizes where none can be
mounted.
"""

import contextlib
import os
import resource
import subprocess
from pathlib import Path

__all__ = ["SmallDisk"]

_SIZE_MB = 192


class SmallDisk:
    """A file system of its own at `folder`, from when the block begins until it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self):
        self._folder.mkdir(parents=True, exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MB}m", "mainspring-journals", str(self._folder)]
        try:
            self.is_mounted = os.getuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0
        except OSError:  # there is no such command
            self.is_mounted = False
        return self

    def __exit__(self, *_):
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)

    @contextlib.contextmanager
    def full(self, server: int):
        """Leave no space to the process `server` until the block ends."""
        if not self.is_mounted:
            soft, hard = resource.prlimit(server, resource.RLIMIT_FSIZE)
            resource.prlimit(server, resource.RLIMIT_FSIZE, (1, hard))
            yield
            resource.prlimit(server, resource.RLIMIT_FSIZE, (soft, hard))
            return
        ballast = self._folder / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"0")
        try:
            yield
        finally:
            ballast.unlink()
