"""What the models said and what came true: a journal written by the prediction server, and the log made of it.

Nouns: *journal* (the server's write-ahead file), *prediction record* and *label record* (its payloads), *log* (the same
as columns, for questions). The server imports `journal` and `records` alone, which need no engine; so this file
re-exports nothing. Start reading at `records` (what is written down), then `journal` (how it survives).
"""

__all__: list[str] = []
