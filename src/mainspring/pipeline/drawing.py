"""The graph of a pipeline as text, Mermaid or plain data: of a run that was, or of a body that only says its calls.

Drawing a body runs none of its steps. Where it asks for a value that only a run can give, the drawing ends there.
"""

import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from mainspring.errors import Invalid, MainspringError
from mainspring.pipeline.graph import Graph, recording
from mainspring.pipeline.ledger import StepRow
from mainspring.pipeline.runner import place_in_project

if TYPE_CHECKING:
    from mainspring.pipeline.step import Pipeline

__all__ = ["Drawing", "Node", "as_mermaid", "as_text", "drawing_of_pipeline", "drawing_of_run", "graph_of"]


@dataclass(frozen=True, slots=True)
class Node:
    """One call: its number, the step's name, the calls whose results it takes, and what became of it in a run."""

    number: int
    name: str
    needs: tuple[int, ...]
    status: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The calls of one pipeline; `undecided` says where the body needs a value that only a run can give."""

    pipeline: str
    nodes: tuple[Node, ...]
    undecided: str = ""


def drawing_of_run(pipeline: str, rows: Sequence[StepRow]) -> Drawing:
    """Draw the calls that a run made."""
    nodes = [Node(row.number, row.name, row.needs, "cached" if row.cached else row.status) for row in rows]
    return Drawing(pipeline, tuple(nodes))


def drawing_of_pipeline(pipeline: "Pipeline[..., Any]", arguments: Mapping[str, object]) -> Drawing:
    """Draw the calls that the body of a pipeline makes; a parameter that `arguments` leaves out may be passed on only.

    Raises:
        Invalid: the body fails.
    """
    graph, undecided = graph_of(pipeline, arguments)
    nodes = [Node(call.index, call.step.name, call.needs, "", call.step.where) for call in graph.calls]
    return Drawing(pipeline.name, tuple(nodes), undecided)


def graph_of(pipeline: "Pipeline[..., Any]", arguments: Mapping[str, object]) -> tuple[Graph, str]:
    """Return the calls that the body makes without a result, and what it would need to go on (empty: nothing).

    Raises:
        Invalid: the body fails.
    """
    graph = Graph(_undecided)
    given = {name: _NotGiven(name) for name in pipeline.signature.parameters if name not in arguments}
    bound = pipeline.signature.bind_partial(**arguments)
    bound.apply_defaults()
    missing = {name: value for name, value in given.items() if name not in bound.arguments}
    undecided = ""
    try:
        with recording(graph):
            pipeline.function(*bound.args, **{**bound.kwargs, **missing})
    except _Undecided as news:
        undecided = f"{_place(news) or pipeline.where} needs {news}"
    except MainspringError:
        raise
    except Exception as error:  # the author's own code: told with its place, as a run would tell it
        what = "".join(traceback.format_exception_only(error)).strip()
        raise Invalid(f"The body of `{pipeline.name}` failed: {what}", where=_place(error) or pipeline.where) from error
    return graph, undecided


def as_text(drawing: Drawing) -> str:
    """Return one line a call, each with the calls it takes its arguments from.

    >>> print(as_text(Drawing("train", (Node(0, "load", ()), Node(1, "fit", (0,))))))
    train
      0 load
      1 fit   <- load
    """
    names = _names(drawing)
    width = max((len(each.name) for each in drawing.nodes), default=0)
    digits = len(str(max(len(drawing.nodes) - 1, 0)))
    lines = [drawing.pipeline]
    for each in drawing.nodes:
        needs = f"  <- {', '.join(names[number] for number in each.needs)}" if each.needs else ""
        status = f"  [{each.status}]" if each.status else ""
        lines.append(f"  {each.number:>{digits}} {each.name:<{width}}{status}{needs}".rstrip())
    if drawing.undecided:
        lines.append(f"  ... decided at run time: {drawing.undecided}")
    return "\n".join(lines)


def as_mermaid(drawing: Drawing) -> str:
    """Return the graph as a Mermaid flowchart, which Markdown pages show.

    >>> print(as_mermaid(Drawing("train", (Node(0, "load", ()), Node(1, "fit", (0,))))))
    flowchart TD
      s0["load"]
      s1["fit"]
      s0 --> s1
    """
    lines = ["flowchart TD"]
    for each in drawing.nodes:
        label = each.name.replace('"', "#quot;") + (f" ({each.status})" if each.status else "")
        lines.append(f'  s{each.number}["{label}"]')
    lines += [f"  s{need} --> s{each.number}" for each in drawing.nodes for need in each.needs]
    if drawing.undecided:
        lines.append(f'  rest["decided at run time: {drawing.undecided}"]'.replace("`", ""))
    return "\n".join(lines)


class _Undecided(BaseException):
    """The body needs a value that is not known before a run. No `Exception`, so that no body swallows it."""


class _NotGiven:
    """Stands for a parameter that has no value; it may be handed to steps, and nothing else."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name: str) -> NoReturn:
        _ask(self)

    def __repr__(self) -> str:
        return f"<parameter {object.__getattribute__(self, '_name')}>"


def _ask(value: _NotGiven, *_: object) -> NoReturn:
    raise _Undecided(f"the parameter `{object.__getattribute__(value, '_name')}`: give it with -p")


for _name in (
    "bool",
    "iter",
    "len",
    "getitem",
    "add",
    "radd",
    "mul",
    "truediv",
    "lt",
    "gt",
    "le",
    "ge",
    "fspath",
    "str",
):
    setattr(_NotGiven, f"__{_name}__", _ask)
del _name


def _undecided(number: int) -> NoReturn:
    raise _Undecided(f"the result of call {number}")


def _place(error: BaseException) -> str:
    return place_in_project(error).partition(" in ")[0]


def _names(drawing: Drawing) -> dict[int, str]:
    """Return what to call each call: its name, with its number where the name is there more than once."""
    counts = Counter(each.name for each in drawing.nodes)
    return {
        each.number: each.name if counts[each.name] == 1 else f"{each.name} {each.number}" for each in drawing.nodes
    }
