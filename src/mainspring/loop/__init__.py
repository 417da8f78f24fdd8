"""The closed loop: what a user defines, and the one table of policies by which it runs itself.

Nouns: `Loop` (the definition), policy (what follows from what), `Situation` (one look at production), `Action` (what
was done). Start reading in `policies.py`: the table is the idea of the whole project.
"""

from mainspring.loop.definition import Loop, LoopRun
from mainspring.loop.policies import POLICIES, Action, Policy, Situation

__all__ = ["POLICIES", "Action", "Loop", "LoopRun", "Policy", "Situation"]
