"""Who may do what: users and their passwords, tokens, roles with verbs per resource, and the decision itself.

Nouns: `User`, `Token`, `Role`, `Grant`, `Resource`, `Actor`. Start reading in `roles.py`, where decisions are pure
functions; `login.py` turns a request's header into an actor. Every denial and every change is in the audit chain.
"""

from mainspring.access.login import Actor, Login
from mainspring.access.roles import Grant, Resource, Role, decide
from mainspring.access.tokens import Token
from mainspring.access.users import User

__all__ = ["Actor", "Grant", "Login", "Resource", "Role", "Token", "User", "decide"]
