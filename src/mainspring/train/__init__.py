"""Training: candidates fitted beside automatic baselines, judged on rows that none of them saw.

Nouns: `Parts` (train, validation, test), `Fitted` (the chosen estimator and the leaderboard), `Candidate` (with its
report and profile, ready for the registry), `Suspects` (rows that are likely wrong). Start reading in `steps.py`, the
four steps that every pipeline is made of.
"""

from mainspring.train.candidate import Candidate, Contender, Fitted, Parts, Report

__all__ = ["Candidate", "Contender", "Fitted", "Parts", "Report"]
