"""What can go wrong in a recipe, besides the client's and the server's errors."""

from __future__ import annotations

from corral.base.errors import CorralError


class RecipeError(CorralError):
    """The base of the recipes' own errors."""


class RecipeTimeout(RecipeError, TimeoutError):
    """What was asked for did not come in the time that the caller gave; nothing of it is left behind."""


class NotHeld(RecipeError):
    """Something was given back, or used, by who does not hold it."""


class HoldLost(RecipeError):
    """What was held is held no more, though it was not given back: somebody else may hold it by now."""


class WouldDeadlock(RecipeError):
    """Something was asked for that can only come when the caller gives up what it holds."""


class ParentsVanish(RecipeError):
    """The parents of a node went again each time they were made."""
