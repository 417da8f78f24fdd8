"""Pages for people: each is a function from what is to be shown to HTML that works without JavaScript.

Nouns: page, view (the plain data behind a page, which its JSON twin shows too). Start reading in `frame.py`, what all
pages have around them. Nothing here asks the store: `server` and `cli` do, and hand in what they found.
"""

from mainspring.ui.frame import framed, table

__all__ = ["framed", "table"]
