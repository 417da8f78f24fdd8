"""The small production of the loop's tests serves here too."""

from tests.loop.conftest import production

__all__ = ["production"]
