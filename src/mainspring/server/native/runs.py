"""Runs on the native API: what our own client logs, in batches.

A batch may be sent again when its answer was lost; each record counts once (see `tracking.batches`).
"""

import msgspec

from mainspring.server.call import Call, Route
from mainspring.tracking.batches import Batch, keep_batch, put_files

__all__ = ["ROUTES"]


class _Kept(msgspec.Struct):
    left_out: list[str]


async def keep(call: Call) -> _Kept:
    """Keep a batch of records of one run."""
    batch = await call.read(Batch)
    files = await call.ask(put_files, batch, call.workspace.artifacts)
    author = call.actor
    return _Kept(await call.write(lambda t: keep_batch(t, batch, author=author, files=files)))


ROUTES: tuple[Route, ...] = (Route("POST", "/api/mainspring/v1/runs/batch", keep, "runs.write"),)
