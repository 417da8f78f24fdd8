"""Names for runs that were given none: two words and a number, to be told apart in a list at a glance."""

import random

__all__ = ["random_name"]

_ADJECTIVES = """
able amber brave brisk calm civil clear crisp daring eager early even fair fine firm fleet frank fresh gentle
glad golden grand handy hardy honest humble jolly keen kind lively loyal lucky mellow merry mild neat noble
nimble polite proud quick quiet rapid ready royal silent silver simple sleek smart solid stately steady sturdy
sunny swift tidy tranquil trusty upbeat vivid warm wise witty zesty
"""
_NOUNS = """
anvil arch barrel beacon bell bobbin bolt bridge cam chain chime chisel clock cog compass crane crank dial
drum dynamo engine escapement fan flywheel forge gauge gear gimbal governor hammer hinge jewel kettle keystone
lathe lens lever loom magnet mill motor needle pendulum piston pivot plane pulley pump ratchet rivet rotor
rudder sextant shaft spindle spring sprocket turbine valve vane wheel winch
"""


def random_name() -> str:
    """Return a name such as ``steady-flywheel-417``; it need not be unique."""
    return f"{random.choice(_ADJECTIVES.split())}-{random.choice(_NOUNS.split())}-{random.randint(0, 999)}"
