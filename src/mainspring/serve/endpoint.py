"""Endpoints: the versions of a model that are loaded and answer, and how they change without a request failing.

A change is followed in this order: read the table, verify and load what is not loaded yet, run the example row through
it, and only then switch one pointer. Whatever fails before the switch leaves the old routes answering and is told in
the metadata and the metrics. Loading runs in a thread of its own; everything else in this module in the event loop.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.bundle.format import digest_of, read_manifest
from mainspring.bundle.predictor import Predictor, load_bundle
from mainspring.bundle.row_rules import RowRules, read_row_rules
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, MainspringError, NotFound, Unavailable, nearest
from mainspring.serve.batching import BatchQueue, Pace
from mainspring.serve.broken_rules import RowRulesUse
from mainspring.serve.budget import Budget, measured
from mainspring.serve.decode import RowDecoder
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.routes import Route, RouteTable, read_routes
from mainspring.serve.typed import TypedRows

if TYPE_CHECKING:
    from mainspring.serve.asking import Ask
    from mainspring.serve.lookup import Lookup, ServedViews
    from mainspring.serve.scoring import Outcome

__all__ = ["Active", "Endpoint", "Endpoints", "LoadedVersion"]

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
#: Rows of the batches from which a version's pace is learnt before its first request.
_WARM_UPS = (1, 64)
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 1.0, 60.0


@dataclass(slots=True, eq=False)
class LoadedVersion:
    """A version that is ready to score: read by `typed` and, where that gives up, by `decoder`.

    `row_rules` guard its requests, where its bundle has some. `queue` and `shadow_queue` are where requests wait for
    it; the service makes them when the first one comes.
    """

    version: int
    digest: Digest
    predictor: Predictor
    decoder: RowDecoder
    typed: TypedRows
    pace: Pace
    row_rules: RowRules | None = None
    queue: "BatchQueue[Ask, Outcome] | None" = None
    shadow_queue: "BatchQueue[Ask, Outcome] | None" = None
    lookup: "Lookup | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Active:
    """A table and every version it names, loaded. Requests hold on to the one they began with."""

    table: RouteTable
    loaded: Mapping[int, LoadedVersion]
    champion: Route
    has_canary: bool
    has_shadow: bool

    @property
    def champion_version(self) -> LoadedVersion:
        """The version that answers by default."""
        return self.loaded[self.champion.version]

    @classmethod
    def of(cls, table: RouteTable, loaded: Mapping[int, LoadedVersion]) -> "Active":
        """Put a table and its versions together."""
        roles = {route.role for route in table.routes}
        return cls(table, loaded, table.champion, "canary" in roles, "shadow" in roles)


@dataclass(slots=True)
class Endpoint:
    """One model: what answers now, what stays warm to go back to, and why the last change was not followed.

    One with routes in `cold` is loaded when somebody asks for it. `used_at` is when somebody did, on the clock of
    ``time.perf_counter``.
    """

    model: str
    active: Active | None = None
    cold: RouteTable | None = None
    used_at: float = 0.0
    standby: Mapping[int, LoadedVersion] = field(default_factory=dict)
    last_error: MainspringError | None = None

    def serving(self) -> Active:
        """Return what answers now.

        Raises:
            Unavailable: no version could be loaded yet.
        """
        if self.active is None:
            raise Unavailable(
                f"No version of `{self.model}` is loaded" + (f": {self.last_error.what}" if self.last_error else ""),
                where=f"models/{self.model}",
                next_step="publish routes to a bundle that loads",
            )
        return self.active


@dataclass(slots=True)
class _Followed:
    """What is known of one route file: how it looked when last read, and when to try again after a failure."""

    seen: tuple[int, ...] = ()
    retry_at: float = 0.0
    wait_seconds: float = _FIRST_RETRY_SECONDS


class Endpoints:
    """Follows a folder of route files, or serves fixed tables, or both."""

    def __init__(
        self,
        folder: Path | None,
        metrics: ServerMetrics,
        fixed: Sequence[RouteTable] = (),
        budget: Budget | None = None,
        views: "ServedViews | None" = None,
        row_rules: RowRulesUse = "obey",
    ) -> None:
        """With a `budget`, what the folder routes is loaded on demand; fixed tables are loaded at once in any case.

        `views` are read for features that requests leave out; `row_rules` says what becomes of requests that break
        rules of a model's schema.
        """
        self._views = views
        self._row_rules = row_rules
        self._budget = budget
        self._warming: dict[str, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._folder = folder
        self._metrics = metrics
        self._fixed = fixed
        self._endpoints: dict[str, Endpoint] = {}
        self._followed: dict[Path, _Followed] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._looked = False

    @property
    def is_ready(self) -> bool:
        """Whether every endpoint that is known has a version that answers, or one that is loaded on demand."""
        return self._looked and all(endpoint.active or endpoint.cold for endpoint in self._endpoints.values())

    @property
    def has_looked(self) -> bool:
        """Whether the first pass over the routes is done, well or not."""
        return self._looked

    def all(self) -> list[Endpoint]:
        """Return every endpoint, by name."""
        return [self._endpoints[name] for name in sorted(self._endpoints)]

    def columns(self) -> set[str]:
        """Return the names of all columns that models here eat, those that are not loaded yet among them."""
        tables = [each.cold or (each.active.table if each.active else None) for each in self.all()]
        names: set[str] = set()
        for bundle in [Path(route.bundle) for table in tables if table for route in table.routes]:
            with contextlib.suppress(MainspringError):  # one that cannot be read is told of when it is loaded
                names |= set(read_manifest(bundle).signature.names)
        return names

    def knows(self, model: str) -> bool:
        """Tell whether a model of this name is served here, well or not."""
        return model in self._endpoints

    def find(self, model: str) -> Endpoint:
        """Return the endpoint of `model`; without a name, of the only one that is served.

        Raises:
            NotFound: no such model is served here; the message names the nearest.
        """
        if not model and len(self._endpoints) == 1:
            return next(iter(self._endpoints.values()))
        try:
            return self._endpoints[model]
        except KeyError:
            raise NotFound(
                f"No model `{model}` is served here" if model else "The request does not say which model it asks",
                where=f"models/{model}",
                next_step=nearest(model, self._endpoints),
            ) from None

    async def warm(self, model: str) -> None:
        """Load a model that is cold; all who ask for it at once wait for the same loading.

        Raises:
            MainspringError: it cannot be loaded. It stays cold, and the next request tries again.
        """
        endpoint = self._endpoints.get(model)
        if endpoint is None or endpoint.active is not None or endpoint.cold is None:
            return
        task = self._warming.get(model)
        if task is None:
            task = self._warming[model] = asyncio.create_task(self._warm(endpoint))
            task.add_done_callback(lambda _: self._warming.pop(model, None))
        await asyncio.shield(task)  # who goes away leaves the others waiting

    async def _warm(self, endpoint: Endpoint) -> None:
        async with self._one_at_a_time:  # or all would look at the room before any has taken its own
            if endpoint.active is None and endpoint.cold is not None:
                await self._warm_now(endpoint, endpoint.cold)

    async def _warm_now(self, endpoint: Endpoint, table: RouteTable) -> None:
        assert self._budget is not None
        bundles = [Path(route.bundle) for route in table.routes]
        try:
            size = sum(file.stat().st_size for folder in bundles for file in folder.iterdir())
            for each in self._budget.making_way([e for e in self.all() if e.active and e.cold], endpoint.model, size):
                each.active, each.standby = None, {}
                self._metrics.count("model_evictions_total", each.model)
                _log.info("endpoint %s makes way for %s", each.model, endpoint.model)
            active, taken = await self._measured(table, bundles)
        except (MainspringError, OSError) as error:
            endpoint.last_error = error if isinstance(error, MainspringError) else Unavailable(str(error))
            self._metrics.count("model_reload_failures_total", endpoint.model)
            raise endpoint.last_error from error
        self._budget.took(endpoint.model, taken)
        endpoint.active, endpoint.last_error, endpoint.used_at = active, None, time.perf_counter()
        _log.info("endpoint %s is loaded on demand and takes %d MiB", endpoint.model, taken >> 20)

    async def _measured(self, table: RouteTable, bundles: list[Path]) -> tuple[Active, int]:
        def load() -> dict[int, LoadedVersion]:
            return {route.version: _load_route(route, None, self._views, self._row_rules) for route in table.routes}

        loaded, taken = await asyncio.get_running_loop().run_in_executor(self._loader, measured, load, bundles)
        return Active.of(table, loaded), taken

    async def load_fixed(self) -> None:
        """Load the fixed tables.

        Raises:
            MainspringError: a bundle cannot be loaded; there is nothing older to fall back on.
        """
        for table in self._fixed:
            endpoint = self._endpoints.setdefault(table.model, Endpoint(table.model))
            endpoint.active = await self._load(table, {})

    async def follow(self) -> None:
        """Follow the folder until cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                await self.look()
            except Exception:
                # The edge of this task: whatever one look trips over, the server answers and the next look comes.
                _log.exception("the routes in %s could not be looked at", self._folder)

    async def look(self) -> None:
        """Look at every route file once, and follow those that changed."""
        present = _route_files(self._folder) if self._folder else {}
        for path, seen in present.items():
            followed = self._followed.setdefault(path, _Followed())
            due = followed.retry_at and time.monotonic() >= followed.retry_at
            if seen != followed.seen or due:
                if seen != followed.seen:
                    followed.wait_seconds = _FIRST_RETRY_SECONDS
                followed.seen, followed.retry_at = seen, 0.0
                await self._follow_file(path, followed)
        for path in self._followed.keys() - present.keys():
            del self._followed[path]
            self._endpoints.pop(path.stem, None)
            _log.info("endpoint %s is gone: its route file was removed", path.stem)
        self._looked = True

    def close(self) -> None:
        """Stop loading."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def _follow_file(self, path: Path, followed: _Followed) -> None:
        endpoint = self._endpoints.setdefault(path.stem, Endpoint(path.stem))
        try:
            table = read_routes(path)
            if self._budget is not None:
                endpoint.cold = table
            if self._budget is None or endpoint.active is not None:
                await self._switch(endpoint, table)
            endpoint.last_error = None
        except (MainspringError, OSError) as error:
            endpoint.last_error = error if isinstance(error, MainspringError) else Unavailable(str(error))
            # A disk that comes back, or a bundle that is copied late, heals without anybody touching the file.
            followed.retry_at = time.monotonic() + followed.wait_seconds
            followed.wait_seconds = min(2 * followed.wait_seconds, _LAST_RETRY_SECONDS)
            self._metrics.count("model_reload_failures_total", endpoint.model)
            _log.error("endpoint %s keeps its routes: %s", endpoint.model, error)

    async def _switch(self, endpoint: Endpoint, table: RouteTable) -> None:
        before = endpoint.active
        known = {**endpoint.standby, **(before.loaded if before else {})}
        try:
            active = await self._load(table, known)
        except MainspringError:
            if before is None and len(table.routes) > 1:
                # Just started, and a canary or shadow is broken: the champion alone is better than no answer.
                alone = RouteTable(table.model, table.revision, (table.champion,))
                endpoint.active = await self._load(alone, known)
            raise
        endpoint.active = active
        if before is not None:
            endpoint.standby = {
                version: loaded for version, loaded in before.loaded.items() if version not in active.loaded
            } or endpoint.standby
        _log.info("endpoint %s follows revision %d", endpoint.model, table.revision)

    async def _load(self, table: RouteTable, known: Mapping[int, LoadedVersion]) -> Active:
        loop = asyncio.get_running_loop()
        loaded = {
            route.version: await loop.run_in_executor(
                self._loader, _load_route, route, known.get(route.version), self._views, self._row_rules
            )
            for route in table.routes
        }
        return Active.of(table, loaded)


def _load_route(
    route: Route, known: LoadedVersion | None, views: "ServedViews | None", use: RowRulesUse
) -> LoadedVersion:
    """Return the version of a route, loaded and warm; `known` is used again when it is the same bundle."""
    folder = Path(route.bundle)
    digest = digest_of(folder)
    if known is not None and known.digest == digest:
        return known
    try:
        predictor = load_bundle(folder)
        row_rules = None if use == "off" else read_row_rules(folder, predictor.manifest)
        if row_rules is not None and use == "flag":
            row_rules = row_rules.warning()
        decoder = RowDecoder(predictor.signature)
        example = predictor.signature.example
        pace = Pace()
        if example:
            predictor.predict(decoder.rows([example]).columns)
            for n_rows in _WARM_UPS:
                columns = decoder.rows([example] * n_rows).columns
                started, work = time.perf_counter(), time.thread_time()
                predictor.predict(columns)
                pace.learn(n_rows, time.perf_counter() - started, time.thread_time() - work)
    except MainspringError:
        raise
    except Exception as error:
        # The first prediction runs foreign code, which may fail in any way; the version is refused, not the server.
        raise Corrupt(
            f"Version {route.version} cannot score its own example row: {type(error).__name__}: {error}",
            where=route.bundle,
            next_step="write the bundle anew from a model that scores its example",
        ) from error
    return LoadedVersion(
        route.version, digest, predictor, decoder, TypedRows(predictor.signature), pace, row_rules,
        lookup=None if views is None else views.lookup_for(predictor.signature, _trained_on(predictor)),
    )  # fmt: skip


def _trained_on(predictor: Predictor) -> dict[str, str]:
    said = predictor.manifest.facts.get("views")
    return {str(name): str(version) for name, version in said.items()} if isinstance(said, dict) else {}


def _route_files(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Return each route file with what changes when it changes; a folder that is not there yet has none."""
    found: dict[Path, tuple[int, ...]] = {}
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        found[path] = (state.st_mtime_ns, state.st_size, state.st_ino)
    return found
