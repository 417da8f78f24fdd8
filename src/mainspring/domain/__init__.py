"""The vocabulary: frozen records, typed ids, state machines and rules. Pure: standard library only, no I/O.

Start with `signature` (what a model eats), then `version` (what the registry holds), `incident` (what went wrong) and
`policy` (what a loop is made of). Import from the module that owns the noun; this file re-exports nothing, so that a
reader of one word does not pay for all of them.
"""

__all__: list[str] = []
