"""Steps as Dask tasks. Start in `executor.py`; `DaskExecutor` is all there is."""

from mainspring.integrations.dask.executor import DaskExecutor

__all__ = ["DaskExecutor"]
