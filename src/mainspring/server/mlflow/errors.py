"""Errors as MLflow's clients read them: ``{"error_code": ..., "message": ...}`` with the status that goes with it.

Source: mlflow/protos/databricks.proto (the codes) and mlflow/exceptions.py (their HTTP status), MLflow 3.17.
"""

from mainspring.errors import (
    Conflict,
    Corrupt,
    Denied,
    Invalid,
    MainspringError,
    NotFound,
    Refused,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from mainspring.server.call import NoRoute

__all__ = ["InvalidState", "mlflow_error"]


class InvalidState(Invalid):
    """The words are right, and what they name is in a state that does not allow it."""


#: The first class that fits says the code and the status.
_CODES: tuple[tuple[type[MainspringError], str, int], ...] = (
    (NoRoute, "ENDPOINT_NOT_FOUND", 404),
    (NotFound, "RESOURCE_DOES_NOT_EXIST", 404),
    (InvalidState, "INVALID_STATE", 500),
    (Invalid, "INVALID_PARAMETER_VALUE", 400),
    (Conflict, "RESOURCE_ALREADY_EXISTS", 400),
    (Unauthenticated, "UNAUTHENTICATED", 401),
    (Denied, "PERMISSION_DENIED", 403),
    (Refused, "PERMISSION_DENIED", 403),
    (Throttled, "REQUEST_LIMIT_EXCEEDED", 429),
    (Unavailable, "TEMPORARILY_UNAVAILABLE", 503),
    (Corrupt, "DATA_LOSS", 500),
)


def mlflow_error(error: MainspringError) -> tuple[int, dict[str, str]]:
    """Return the status and the body that tell `error` to a client of MLflow; advice follows the message."""
    for kind, code, status in _CODES:
        if isinstance(error, kind):
            return status, {"error_code": code, "message": _message(error)}
    return 500, {"error_code": "INTERNAL_ERROR", "message": error.what}


def _message(error: MainspringError) -> str:
    return (
        error.what
        if not error.next_step
        else f"{error.what.rstrip('.')}. {error.next_step[:1].upper()}{error.next_step[1:]}."
    )
