"""When the process of a command looks for garbage: not while it imports, for what is imported stays.

Most commands end within a tenth of a second, and a fifth of that would go into looking through modules for garbage.
"""

import gc

__all__ = ["leave_garbage", "look_for_garbage"]


def leave_garbage() -> None:
    """Look for no garbage until `look_for_garbage`."""
    gc.disable()


def look_for_garbage() -> None:
    """Look for garbage again, but never among what is there by now; does nothing in a process that always looked."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
