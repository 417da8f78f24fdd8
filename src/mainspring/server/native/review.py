"""The review queue over HTTP: as JSON for programs, and as a page with a form for people."""

from urllib.parse import parse_qs, quote

import msgspec

from mainspring.access.roles import Resource
from mainspring.errors import Denied, Invalid
from mainspring.loop.review import Review, answer_question, list_reviews, questions
from mainspring.registry.models import find_model
from mainspring.registry.versions import list_versions
from mainspring.server.call import Call, Reply, Route
from mainspring.ui.review import review_page, reviewable_page

__all__ = ["ROUTES"]

_HTML = "text/html; charset=utf-8"
_SHOWN = 10


class _Answer(msgspec.Struct):
    prediction_id: str
    label: str | int | float
    comment: str = ""


async def waiting(call: Call) -> object:
    """Return the questions that wait, and what was answered last."""

    def answer() -> object:
        name = _allowed(call, "read")
        return {
            "questions": questions(call.workspace, name),
            "reviews": list_reviews(call.workspace, name)[:_SHOWN],
        }

    return await call.ask(answer)


async def answer(call: Call) -> object:
    """Keep what came true of one prediction."""
    given = await call.read(_Answer)
    return await call.ask(_keep, call, given)


async def models_page(call: Call) -> object:
    """Show the models that serve."""

    def answer() -> object:
        serving = {each.model for each in list_versions(call.store) if "champion" in each.aliases}
        return Reply(reviewable_page(sorted(each for each in serving if _may_read(call, each))), content_type=_HTML)

    return await call.ask(answer)


async def page(call: Call) -> object:
    """Show the queue with its forms."""

    def answer() -> object:
        name = _allowed(call, "read")
        call.workspace.seal()
        asked, done = questions(call.workspace, name), list_reviews(call.workspace, name)[:_SHOWN]
        return Reply(review_page(name, call.actor, asked, done), content_type=_HTML)

    return await call.ask(answer)


async def answer_form(call: Call) -> object:
    """Keep what a form says, and show the queue again."""
    if not call.headers.get(b"origin"):  # which browsers send with every form, and `admission` has compared
        raise Denied("The form came from no page of this server", next_step="programs send JSON to the native API")
    fields = {name: values[-1] for name, values in parse_qs((await call.body()).decode("utf-8", "replace")).items()}
    if not {"prediction_id", "label"} <= fields.keys():
        raise Invalid("The form is not whole", where="label", next_step="choose what came true")
    given = _Answer(fields["prediction_id"], fields["label"], fields.get("comment", ""))
    await call.ask(_keep, call, given)
    return Reply(b"", 303, headers=(("location", f"/review/{quote(call.names['name'], safe='')}"),))


def _keep(call: Call, given: _Answer) -> Review:
    name = _allowed(call, "comment")
    return answer_question(
        call.workspace, name, given.prediction_id, given.label, reviewer=call.actor, comment=given.comment
    )


def _allowed(call: Call, verb: str) -> str:
    model = find_model(call.store, call.names["name"])
    call.allow(verb, Resource("models", model.name, model.tags))
    return model.name


def _may_read(call: Call, name: str) -> bool:
    return call.may("read", Resource("models", name, find_model(call.store, name).tags))


_AT = "/api/mainspring/v1"
ROUTES = (
    Route("GET", f"{_AT}/models/{{name}}/reviews", waiting, "models.read"),
    Route("POST", f"{_AT}/models/{{name}}/reviews", answer, "models.comment"),
    Route("GET", "/review", models_page, "models.read"),
    Route("GET", "/review/{name}", page, "models.read"),
    Route("POST", "/review/{name}", answer_form, "models.comment"),
)
