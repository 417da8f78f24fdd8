"""Steps as Ray tasks. Start in `executor.py`; `RayExecutor` is all there is."""

from mainspring.integrations.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
