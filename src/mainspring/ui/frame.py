"""What all pages have around them: one file, with its style inside, that names no other address."""

from collections.abc import Iterable
from html import escape

__all__ = ["framed", "table"]

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:0}
p.about,small{opacity:.75}p.about{margin:.2rem 0 1.5rem}
section{border:1px solid color-mix(in srgb,currentColor 30%,transparent);border-radius:.5rem;padding:.8rem 1rem;
margin:1rem 0}
section.well{border-left:.4rem solid #2a7}section.ticket{border-left:.4rem solid #c80}
section.page{border-left:.4rem solid #c22}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}
th{font-weight:600;opacity:.75}th[scope=row]{width:11rem}
td.wide{overflow-wrap:anywhere}
form{display:flex;flex-wrap:wrap;gap:.6rem;align-items:end;margin-top:.8rem}
input{padding:.35rem;font:inherit}input.long{flex:1 1 14rem}
button{padding:.4rem 1.2rem;font:inherit;font-weight:600;cursor:pointer}
"""


def framed(title: str, body: str) -> bytes:
    """Return a whole page; `body` is HTML, `title` plain text."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body>{body}"
    ).encode()


def table(rows: Iterable[tuple[str, object]]) -> str:
    """Return names and values as rows of a table; both are plain text."""
    cells = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td class=wide>{escape(str(value))}</td></tr>" for name, value in rows
    )
    return f"<table>{cells}</table>"
