"""Where rows come from: an address gives a source, and a source gives rows or files that are pulled into a dataset.

Nouns: *source* (what an address names), *part* (a file of a source, or all rows of one query), *stamp* (what changes
when a part does). Start reading at `protocol`; each other module is one kind of source, found by the scheme of its
address among the entry points of the group ``mainspring.source``. What becomes of the rows is `data.pulling`'s.
"""

from mainspring.data.sources.protocol import FileSource, RowSource, Source, SourceFile, Wanted, source_at

__all__ = ["FileSource", "RowSource", "Source", "SourceFile", "Wanted", "source_at"]
