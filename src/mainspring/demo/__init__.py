"""`mainspring demo`: one model's life through 2013, on real flights, unattended.

Nouns: scene (the folder with loop, data and workspace), traffic (the flights of a day as requests), life (the year).
Start reading in `life.py`. Nothing is staged: the demo sends requests, tells the labels when they would have been
known, and lets the loop decide; the one thing it plants, a candidate that has seen its own exam, goes in by the public
API like anybody's.
"""

__all__: list[str] = []
