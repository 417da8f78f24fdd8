"""Outside systems, one folder each: an executor, a notifier, an exporter. Start in the folder of the system.

Nothing in the product imports these; they are found by entry point when their name is asked for, and each needs an
extra of the same name (``pip install 'mainspring[ray]'``).
"""

__all__: list[str] = []
