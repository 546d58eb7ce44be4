"""Things that were made for something, and are had again for what is equal to it. No I/O."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Like a dict whose keys need only be comparable: settings are lists and dicts. There are few."""

    def __init__(self) -> None:
        self._known: list[tuple[object, T]] = []

    def get(self, key: object, make: Callable[[], T]) -> T:
        """What is there for an equal key, or what `make` makes now."""
        for known, thing in self._known:
            if known == key:
                return thing
        made = make()
        self._known.append((key, made))
        return made
