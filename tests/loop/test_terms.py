"""A loop obeys the terms of its data: it trains for what is allowed, and on nothing whose time is over."""

from datetime import timedelta

import numpy as np
import pytest

from mainspring.data.version_terms import terms_of
from mainspring.data.versions import find_dataset
from mainspring.errors import Refused
from mainspring.loop.staleness import staleness
from mainspring.tracking.runs import list_runs

from .conftest import Production

SCHEMA = "columns:\n  pull: {type: number}\nterms:\n  purpose: [hits]\n  retain: 10d\n  consent: agreed\n"


@pytest.fixture
def termed(production: Production) -> Production:
    """The production with terms, and consent of three rows in four."""
    lines = production.data.read_text().splitlines()
    agreed = ["yes", "yes", "no", "yes"]
    rows = [f"{line},{agreed[number % 4]}" for number, line in enumerate(lines[1:])]
    production.data.write_text("\n".join([lines[0] + ",agreed", *rows, ""]))
    production.data.with_name(production.data.stem + ".schema.yaml").write_text(SCHEMA)
    return production


def test_a_loop_that_says_no_allowed_purpose_is_refused_before_it_runs(termed: Production) -> None:
    before = len(list_runs(termed.workspace.store))
    with pytest.raises(Refused, match="no purpose is said"):
        termed.loop().run(termed.workspace)
    with pytest.raises(Refused, match="for hits only, not for ads"):
        termed.loop(purpose=["hits", "ads"]).run(termed.workspace)
    assert len(list_runs(termed.workspace.store)) == before


def test_asking_how_fast_a_model_ages_is_a_use_too(termed: Production) -> None:
    with pytest.raises(Refused, match="no purpose is said"):
        staleness(termed.loop(), termed.workspace, [timedelta(days=7)])
    asked = staleness(termed.loop(purpose="hits"), termed.workspace, [timedelta(days=7)])
    rows = termed.data.read_text().count("\n") - 1
    assert asked.rows <= 0.15 * 0.75 * rows + 2


def test_an_allowed_loop_trains_on_those_who_agreed_until_the_retention_ends(termed: Production) -> None:
    loop = termed.loop(purpose="hits")
    done = loop.run(termed.workspace)
    candidate = done.outcome.value
    rows = termed.data.read_text().count("\n") - 1
    used = sum(candidate.report.rows.values())
    assert used == np.sum(np.arange(rows) % 4 != 2)
    assert "agreed" not in candidate.fitted.signature.names
    kept = find_dataset(termed.workspace.store, "hits.data")
    terms = terms_of(termed.workspace.store, kept)
    assert terms is not None
    assert (terms.purpose, terms.retain) == (("hits",), "10d")
    termed.clock.advance_to(termed.clock.now() + timedelta(days=11))
    with pytest.raises(Refused, match="was to be kept until"):
        loop.run(termed.workspace)
