"""Requests that were refused because the journal took nothing: remembered here until it does, and then told to it."""

from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import LostRecord, encode_record
from mainspring.serve.asking import Ask

__all__ = ["LostRequests"]


class LostRequests:
    """What the journal of this process has not taken, a record a model."""

    def __init__(self) -> None:
        self._by_model: dict[str, LostRecord] = {}

    def note(self, asks: list[Ask], reason: str, now: str) -> None:
        """Remember requests of one model that were not written down."""
        model = asks[0].received.model
        moments = [ask.event_at or now for ask in asks]
        known = self._by_model.get(model)
        self._by_model[model] = LostRecord(
            model=model,
            first_at=min([*moments, known.first_at] if known else moments),
            last_at=max([*moments, known.last_at] if known else moments),
            requests=len(asks) + (known.requests if known else 0),
            rows=sum(ask.n_rows for ask in asks) + (known.rows if known else 0),
            reason=reason,
        )

    def tell(self, journal: JournalWriter) -> None:
        """Write what is remembered.

        Raises:
            Unavailable: the journal still takes nothing; all stays remembered.
        """
        for model in list(self._by_model):
            journal.append(encode_record(self._by_model[model]))
            del self._by_model[model]
