"""How large a request may be."""

from http import HTTPStatus

from mainspring.serve.problems import HttpRefusal

__all__ = ["MOST_ROWS", "check_size"]

#: Rows of one request; more belong into a batch job.
MOST_ROWS = 10_000


def check_size(count: int, what: str) -> None:
    """Check that a request is not larger than one may be.

    Raises:
        HttpRefusal: it is.
    """
    if count > MOST_ROWS:
        raise HttpRefusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{count} {what} in one request; at most {MOST_ROWS} are taken",
            where=what,
            next_step="send them in several requests, or score files with `mainspring predict`",
        )
