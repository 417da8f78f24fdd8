"""A worker that cannot read an order ends, and says so: nobody waits for its answer for ever."""

import pytest

from mainspring.pipeline.processes import _Ended, _Worker


class _Unreadable:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return exec, ("raise RuntimeError('this order cannot be read')",)


def test_an_order_that_cannot_be_read_ends_the_worker() -> None:
    worker = _Worker()
    try:
        worker._send(_Unreadable())
        with pytest.raises(_Ended, match="ended with code 1"):
            worker._receive(None, None, None)  # type: ignore[arg-type]  # there is no task
    finally:
        worker.kill()
