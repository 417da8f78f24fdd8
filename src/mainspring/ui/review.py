"""The page on which experts answer what came true: one form for each prediction of the queue."""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from mainspring.loop.review import Question, Review
from mainspring.ui.frame import framed, table

__all__ = ["review_page", "reviewable_page"]

_WHY = {"sampled": "part of the sample", "uncertain": "the model was in doubt"}


def reviewable_page(models: Sequence[str]) -> bytes:
    """Return the page that lists the models whose answers can be reviewed."""
    items = "".join(f'<li><a href="/review/{quote(name, safe="")}">{escape(name)}</a></li>' for name in models)
    return framed("Review", f"<h1>Review</h1><ul>{items or '<li>no model serves yet</li>'}</ul>")


def review_page(model: str, reviewer: str, waiting: Sequence[Question], answered: Sequence[Review]) -> bytes:
    """Return the queue of a model, as `reviewer` answers it, and what was answered last."""
    about = f"{len(waiting)} predictions wait for somebody who knows what came true. You answer as {reviewer}."
    forms = "".join(_form(each) for each in waiting) or "<p>Nothing waits.</p>"
    done = "".join(
        f"<tr><td>{escape(each.answered_at[:16].replace('T', ' '))}</td><td>{escape(each.reviewer)}</td>"
        f"<td>{escape(each.label)}</td><td class=wide>{escape(each.comment)}</td></tr>"
        for each in answered
    )
    last = f"<h2>Answered last</h2><table>{done}</table>" if done else ""
    return framed(f"Review of {model}", f"<h1>{escape(model)}</h1><p class=about>{escape(about)}</p>{forms}{last}")


def _form(question: Question) -> str:
    score = question.score if isinstance(question.score, list) else [question.score]
    said = ", ".join(f"{each:.3f}" for each in score)
    facts = [(name, "missing" if value is None else value) for name, value in question.features.items()]
    if question.choices:
        buttons = "".join(
            f'<button name=label value="{escape(each, quote=True)}">{escape(each)}</button>'
            for each in question.choices
        )
    else:
        buttons = "<label>it was <input name=label inputmode=decimal required></label><button>answer</button>"
    # Enter in the comment would press the first button of the form, which answers nothing
    nothing = "<button disabled hidden></button>"
    comment = '<input class=long name=comment aria-label="comment" placeholder="comment (optional)">'
    return (
        f"<section><h2>{escape(question.at[:16].replace('T', ' '))} UTC</h2>"
        f"<small>version {question.version} said {said}; {_WHY.get(question.kind, question.kind)}</small>"
        f"{table(facts)}<form method=post><input type=hidden name=prediction_id value={question.prediction_id}>"
        f"{nothing}{comment}<span>{escape(question.target)} was</span>{buttons}</form></section>"
    )
