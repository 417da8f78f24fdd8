"""One request and what its route may do with it: read its words, ask the store, queue a write, answer.

The event loop never waits for SQL: writes are queued for the store's own thread, reads go to a few threads.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

from mainspring.access.login import Actor, Login
from mainspring.access.roles import Resource
from mainspring.access.users import roles_held
from mainspring.errors import Invalid, NotFound
from mainspring.registry.control import Mover
from mainspring.server.artifact_root import ArtifactRoot
from mainspring.server.decoding import decode_body, decode_query
from mainspring.store.protocol import EventOf, Store, Transaction
from mainspring.workspace import Workspace

__all__ = ["BODY_LIMIT", "Call", "Gone", "NoRoute", "Reply", "Route", "TooLarge", "WrongMethod"]

T = TypeVar("T")
#: The largest body that is decoded; artifacts are streamed and have no such limit.
BODY_LIMIT = 32 << 20

# Any: the ASGI interface gives and takes untyped dictionaries.
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gone(Exception):
    """The client went away before its request was complete."""


class NoRoute(NotFound):
    """Nothing answers this method and path: it is misspelt, or belongs to a part of MLflow that is not offered."""


class WrongMethod(NoRoute):
    """The path is answered, but not by this method; `allowed` are those that are."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "", allowed: tuple[str, ...] = ()) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.allowed = allowed


class TooLarge(Invalid):
    """The body is larger than what is decoded in one piece."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is not JSON of a struct: bytes, or pieces of them, with a type and headers."""

    body: bytes | AsyncIterator[bytes] = b""
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Route(NamedTuple):
    """A method and a path (``{name}`` stands for one part, ``{name...}`` for the rest) and what answers.

    `needs` is what the caller must be allowed, as kind and verb of `access` (``runs.write``); empty: anybody may ask.
    """

    method: str
    path: str
    answer: "Callable[[Call], Awaitable[object]]"
    needs: str


@dataclass(slots=True)
class Call:
    """One request. `names` are the parts of the path that the route leaves open."""

    workspace: Workspace
    readers: ThreadPoolExecutor
    method: str
    path: str
    query_string: bytes
    headers: dict[bytes, bytes]
    receive: Receive
    login: Login
    address: str = ""
    names: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"
    root: ArtifactRoot = field(default_factory=ArtifactRoot)
    who: Actor = field(default=Actor("", ()))

    @property
    def actor(self) -> str:
        """The name of who asks, for the audit log."""
        return self.who.name

    @property
    def mover(self) -> Mover:
        """Who asks, as the rules of aliases see it. Reads the database where nobody has logged in."""
        roles = self.who.roles
        return Mover(self.actor, roles_held(self.store, self.actor) if roles is None else roles)

    def allow(self, verb: str, resource: Resource) -> None:
        """Make sure that who asks may do this to that; reads the database, so a thread asks it.

        Raises:
            Denied: no role allows it.
        """
        self.login.authorise(self.who, verb, resource)

    def may(self, verb: str, resource: Resource) -> bool:
        """Whether who asks may do this to that; leaves no trace."""
        return self.login.may(self.who, verb, resource)

    @property
    def store(self) -> Store:
        """The metadata database."""
        return self.workspace.store

    @property
    def now(self) -> datetime:
        """The moment, by the workspace's clock."""
        return self.workspace.clock.now()

    @property
    def query(self) -> dict[str, list[str]]:
        """The words behind the question mark."""
        return parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)

    async def read(self, kind: type[T]) -> T:
        """Return the request's words as the struct `kind`: of the query for GET, of a JSON body otherwise.

        Raises:
            Invalid: they do not fit; the message names the place.
        """
        if self.method == "GET" and self.query_string:
            return decode_query(kind, self.query)
        body = await self.body()
        if body and self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            # a page of another site can post text without asking first, but no JSON
            raise Invalid("Bad Request. Content-Type must be one of ['application/json'].", where="content-type")
        return decode_body(kind, body)

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            TooLarge: it is larger than `BODY_LIMIT`.
        """
        chunks, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > BODY_LIMIT:
                raise TooLarge(
                    f"The body is larger than {BODY_LIMIT} bytes", where="body", next_step="send it in parts"
                )
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes in."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            if chunk := message.get("body", b""):
                yield chunk
            more = message.get("more_body", False)

    async def write(self, write: Callable[[Transaction], T]) -> T:
        """Queue a write and wait until it is durable."""
        return await asyncio.wrap_future(self.store.submit(write))

    async def change(self, event: EventOf[T], write: Callable[[Transaction], T]) -> T:
        """Queue a state change with its audit event and wait until both are durable."""
        return await asyncio.wrap_future(self.store.submit(write, event))

    async def ask(self, question: Callable[..., T], *arguments: object) -> T:
        """Run a blocking question on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, question, *arguments)
