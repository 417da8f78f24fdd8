"""Answering for what happened: one prediction traced to its sources, and the story of a model in order.

Nouns: `Explanation` (everything behind one prediction), `Moment` (one line of the story), `Reproduction` (a run made
again), `Update` (newer libraries tried on a model). Start reading in `why.py`.
"""

from mainspring.govern.timeline import Moment, timeline
from mainspring.govern.why import Explanation, explain

__all__ = ["Explanation", "Moment", "explain", "timeline"]
