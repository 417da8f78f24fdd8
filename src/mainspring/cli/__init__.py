"""The command line: one file a command group; each parses, calls one use case, and prints.

Start reading in `main.py`, whose table names every command; a command's module is imported when it is called. The
process begins in `entry.py`.
"""

__all__: list[str] = []
