"""The route file: which versions of one model answer, from which bundles, for what share of the traffic.

Whoever rolls out writes ``<endpoints>/<model>.json`` in one piece; prediction servers follow it. The file is all they
know of the registry, so that a server goes on answering when everything else is down.
"""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mainspring.domain.ids import new_id
from mainspring.errors import Invalid, NotFound

__all__ = ["Role", "Route", "RouteTable", "choose", "is_chosen", "read_routes", "route_for", "write_routes"]

Role = Literal["champion", "canary", "shadow"]

#: The finest share that can be told apart is one request in this many.
_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Route:
    """One version that answers: `bundle` is the path of its folder, `weight` its share of the traffic in percent.

    The champion answers what canaries leave, whatever its weight says. A shadow computes its share of the requests
    once more, unseen by the client.
    """

    version: int
    bundle: str
    role: Role
    weight: float


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All routes of `model`. `revision` counts the changes, so that a server can say how far it has followed."""

    model: str
    revision: int
    routes: tuple[Route, ...]

    @property
    def champion(self) -> Route:
        """The version that answers by default."""
        return next(route for route in self.routes if route.role == "champion")


def choose(table: RouteTable, key: str) -> Route:
    """Return the route that answers requests with this key; the same key gets the same answer everywhere.

    A key that is in a canary's 5 percent is also in its 25 percent, so nobody goes back and forth as it widens.
    """
    bucket, upper = _bucket(table.model, key), 0.0
    for route in table.routes:
        if route.role == "canary":
            upper += route.weight * _BUCKETS / 100
            if bucket < upper:
                return route
    return table.champion


def is_chosen(route: Route, model: str, key: str) -> bool:
    """Tell whether a shadow sees the request with this key."""
    return _bucket(model, key) < route.weight * _BUCKETS / 100


def route_for(table: RouteTable, version: int) -> Route | None:
    """Return the route of `version`; None when it has none."""
    return next((route for route in table.routes if route.version == version), None)


def write_routes(path: Path, table: RouteTable) -> None:
    """Write the table in one piece: a reader sees the old file or the new one.

    Raises:
        Invalid: the table breaks a rule; see `read_routes`.
    """
    _check(table, str(path))
    text = msgspec.json.format(msgspec.json.encode(table), indent=2) + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{new_id()}")
    try:
        with building.open("xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_routes(path: Path) -> RouteTable:
    """Read and check a route file.

    Raises:
        NotFound: there is no such file.
        Invalid: it is no route table, has not exactly one champion, names a version twice, shares more than 100 percent
            among its canaries, or is about another model than its name says.
    """
    try:
        table = msgspec.json.decode(path.read_bytes(), type=RouteTable)
    except FileNotFoundError as error:
        raise NotFound(f"There is no route file `{path.name}`", where=str(path.parent)) from error
    except msgspec.MsgspecError as error:
        raise Invalid(f"This is not a route file: {error}", where=str(path), next_step="write it anew") from error
    _check(table, str(path))
    if path.name != f"{table.model}.json":
        raise Invalid(
            f"The file is named `{path.name}` and routes `{table.model}`",
            where=str(path),
            next_step=f"name it {table.model}.json",
        )
    return table


def _bucket(model: str, key: str) -> int:
    # The model's name keeps two models from sharing their canaries. CRC-32 alone leaves keys that count up in order,
    # so the bits are mixed by a multiplication with an odd constant (Knuth, TAOCP volume 3, section 6.4).
    mixed = (zlib.crc32(f"{model}\0{key}".encode()) * 2_654_435_761) & 0xFFFF_FFFF
    return (mixed * _BUCKETS) >> 32


def _check(table: RouteTable, where: str) -> None:
    versions = [route.version for route in table.routes]
    canaries = [route.weight for route in table.routes if route.role == "canary"]
    if not table.model or "/" in table.model or table.model.startswith("."):
        raise Invalid(f"`{table.model}` cannot be the name of an endpoint", where=where)
    if sum(route.role == "champion" for route in table.routes) != 1:
        raise Invalid(
            f"`{table.model}` must have exactly one champion",
            where=f"{where} routes",
            next_step="give one route the role champion",
        )
    if len(set(versions)) != len(versions):
        raise Invalid(f"`{table.model}` routes a version twice: {versions}", where=f"{where} routes")
    if not all(0 <= route.weight <= 100 for route in table.routes) or sum(canaries) > 100:
        raise Invalid(
            f"The shares of `{table.model}` are not percentages: {[route.weight for route in table.routes]}",
            where=f"{where} routes",
            next_step="give each route 0 to 100, and all canaries together at most 100",
        )
