"""Where a run happens, as tags: the commit of the project, whether it was changed since, Python, and the user."""

import contextlib
import getpass
import platform
import subprocess
from pathlib import Path

__all__ = ["surroundings"]

_GIT_SECONDS = 5


def surroundings(folder: Path) -> dict[str, str]:
    """Return the tags of a run started in `folder`; what cannot be found out is left out."""
    tags = {"python": platform.python_version()}
    # A container may run as a number without a name.
    with contextlib.suppress(KeyError, OSError):
        tags["user"] = getpass.getuser()
    return tags | _commit(folder)


def _commit(folder: Path) -> dict[str, str]:
    """One call of git gives both; without a repository it is not asked, because a process costs milliseconds."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return {}
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = answer.splitlines()
    commit = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    if not commit or commit[0] == "(initial)":
        return {}
    return {"git_commit": commit[0], "git_dirty": str(any(not line.startswith("#") for line in lines)).lower()}
