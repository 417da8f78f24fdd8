"""Public conformance suites for people who write backends; nothing in the product imports them.

Subclass the suite of the protocol you implement and run pytest: a backend is done when its suite passes. Start with
`artifact_store.ArtifactStoreSuite`. pytest must be installed.
"""

__all__: list[str] = []
