"""The page where a person tries a model: a form made of its signature, answered by the server, without JavaScript."""

from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from mainspring.domain.signature import Column
from mainspring.serve.endpoint import LoadedVersion
from mainspring.serve.problems import Problem
from mainspring.serve.wire import Answer, ExplainedAnswer, ExplainedPrediction

__all__ = ["form_page", "models_page", "row_of_form"]

#: With more categories than this, a box to write in helps better than a list to look through.
_MOST_CHOICES = 100

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:46rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}
p.about{margin-top:.2rem;opacity:.75}
form{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:.9rem 1.2rem;margin:1.5rem 0}
label{display:block;font-weight:600}
input,select{width:100%;box-sizing:border-box;padding:.4rem;font:inherit}
small{opacity:.75}
button{grid-column:1/-1;justify-self:start;padding:.5rem 1.6rem;font:inherit;font-weight:600;cursor:pointer}
section{border:1px solid;border-radius:.5rem;padding:.6rem 1rem;margin:1rem 0}
section.bad{border-color:#c22}
.bar{height:.6rem;border-radius:.3rem;background:color-mix(in srgb,currentColor 15%,transparent)}
.bar i{display:block;height:100%;border-radius:.3rem;background:#37b}
td.side{width:14rem;position:relative}td.side i{position:absolute;top:.35rem;height:.7rem}
i.more{left:50%;background:#37b}i.less{right:50%;background:#c62}
em{color:#c22;font-style:normal;display:block}
table{border-collapse:collapse}td{padding:.1rem .8rem .1rem 0}
"""


def models_page(models: list[str]) -> bytes:
    """Return the page that lists the models."""
    items = "".join(f'<li><a href="/models/{quote(name, safe="")}">{escape(name)}</a></li>' for name in models)
    return _page("Models", f"<h1>Models</h1><ul>{items or '<li>none yet</li>'}</ul>")


def row_of_form(fields: Mapping[str, list[str]], loaded: LoadedVersion) -> dict[str, object]:
    """Return the row that a filled form means; what is not of its type stays text, and is told by the decoder."""
    row: dict[str, object] = {}
    for column in loaded.predictor.signature.columns:
        text = fields.get(column.name, [""])[-1].strip()
        row[column.name] = _value(text, column)
    return row


def form_page(
    model: str,
    loaded: LoadedVersion,
    row: Mapping[str, object],
    answer: Answer | ExplainedAnswer | None = None,
    problem: Problem | None = None,
) -> bytes:
    """Return the form with `row` filled in, and what came of it."""
    signature = loaded.predictor.signature
    wrong = {place.where.partition(".")[2]: place.what for place in (problem.errors if problem else [])}
    told = {warn.where.partition(".")[2]: warn.what for warn in (answer.warnings if answer else [])}
    fields = "".join(_field(column, row.get(column.name), wrong | told) for column in signature.columns)
    outcome = _answered(answer, loaded) if answer else _refused(problem) if problem else ""
    body = (
        f'<h1>{escape(model)}</h1><p class="about">Predicts <b>{escape(signature.target)}</b> '
        f"({signature.task}). Version {loaded.version}. "
        f'<a href="/v2/models/{quote(model, safe="")}">metadata</a> · <a href="/openapi.json">OpenAPI</a></p>'
        f'{outcome}<form method="post">{fields}<button>Predict</button></form>'
    )
    return _page(model, body)


def _field(column: Column, value: object, notes: Mapping[str, str]) -> str:
    name, shown = escape(column.name), "" if value is None else escape(str(value))
    hint = ""
    if column.type == "boolean":
        control = _choices(name, ["true", "false"], "" if value is None else str(value).lower(), column.nullable)
    elif column.categories is not None and len(column.categories) <= _MOST_CHOICES:
        choices = list(column.categories)
        if isinstance(value, str) and value not in choices:
            choices.append(value)
        control = _choices(name, choices, "" if value is None else str(value), column.nullable)
    else:
        kind = 'type="text" inputmode="decimal"' if column.type in ("number", "integer") else 'type="text"'
        control = f'<input id="{name}" name="{name}" {kind} value="{shown}" autocomplete="off">'
        if column.low is not None and column.high is not None:
            hint = f"<small>{column.low:g} to {column.high:g}</small>"
        elif column.type == "timestamp":
            hint = "<small>2026-01-31T14:00:00Z</small>"
    note = f"<em>{escape(notes[column.name])}</em>" if column.name in notes else ""
    return f'<div><label for="{name}">{name}</label>{control}{hint}{note}</div>'


def _choices(name: str, choices: list[str], chosen: str, nullable: bool) -> str:
    options = ['<option value="">(missing)</option>'] if nullable else []
    for each in choices:
        mark = " selected" if each == chosen else ""
        options.append(f'<option value="{escape(each)}"{mark}>{escape(each)}</option>')
    return f'<select id="{name}" name="{name}">{"".join(options)}</select>'


def _answered(answer: Answer | ExplainedAnswer, loaded: LoadedVersion) -> str:
    (prediction,) = answer.predictions
    classes = loaded.predictor.signature.classes
    score = prediction.score
    lines = f"<p><b>{escape(prediction.label)}</b></p>" if prediction.label is not None else f"<p><b>{score:g}</b></p>"
    if classes:
        shares = score if isinstance(score, list) else [1 - score, score]
        lines += "<table>" + "".join(
            f"<tr><td>{escape(name)}</td><td>{share:.3f}</td>"
            f'<td style="width:12rem"><div class="bar"><i style="width:{100 * share:.1f}%"></i></div></td></tr>'
            for name, share in zip(classes, shares, strict=True)
        ) + "</table>"  # fmt: skip
    source = f"prediction {prediction.id}, version {answer.version} ({answer.route})"
    if isinstance(prediction, ExplainedPrediction):
        lines += _contributions(prediction, classes)
    return f"<section>{lines}<small>{source}</small></section>"


def _contributions(prediction: ExplainedPrediction, classes: tuple[str, ...]) -> str:
    """Return what each column added to the score, as bars to the left and right; of the likeliest class where many."""
    score, at = prediction.score, 0
    if isinstance(score, list):
        at = max(range(len(score)), key=score.__getitem__)
    added = {name: each[at] if isinstance(each, list) else each for name, each in prediction.contributions.items()}
    most = max(map(abs, added.values()), default=0.0) or 1.0
    rows = "".join(_side(name, value, abs(value) / most) for name, value in _by_size(added))
    what = "the value"
    if classes:
        what = f"the probability of {escape(classes[at] if isinstance(score, list) else classes[1])}"
    return f"<p>What each column added to {what}, compared with the example row:</p><table>{rows}</table>"


def _by_size(added: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(added.items(), key=lambda item: -abs(item[1]))


def _side(name: str, value: float, share: float) -> str:
    kind = "more" if value > 0 else "less"
    bar = f'<i class="{kind}" style="width:{50 * share:.1f}%"></i>'
    return f'<tr><td>{escape(name)}</td><td>{value:+.4g}</td><td class="side">{bar}</td></tr>'


def _refused(problem: Problem) -> str:
    where = f" at {escape(problem.where)}" if problem.where else ""
    return f'<section class="bad"><b>{escape(problem.title)}</b>: {escape(problem.detail)}{where}</section>'


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body>{body}</body></html>"
    ).encode()


def _value(text: str, column: Column) -> object:
    if not text:
        return None
    if column.type == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if column.type not in ("number", "integer"):
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if column.type == "integer" and number.is_integer() else number
