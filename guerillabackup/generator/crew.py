"""The threads that units run in, and what they tell the loop that waits for them. Touches: os, threading."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")
News = TypeVar("News")

MAX_NEWS = 1000
"""Pieces of news that wait for the loop; older ones are dropped."""


class Crew(Generic[Result, News]):
    """Starts a thread for each piece of work; `descriptor` is readable when there is something to take.

    A thread that never ends keeps nobody from ending the process.
    """

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._results: deque[tuple[str, Result]] = deque()
        self._news: deque[News] = deque(maxlen=MAX_NEWS)
        self._process_id = os.getpid()

    def start(self, name: str, work: Callable[[], Result]) -> None:
        """Do it in a thread of its own; `work` raises nothing. Raises RuntimeError where there is none."""
        threading.Thread(target=self._run, args=(name, work), name=f"unit-{name}", daemon=True).start()

    def tell(self, news: News) -> None:
        """From any thread: let the loop have it. Never blocks."""
        self._news.append(news)
        self._wake()

    def take(self) -> tuple[list[tuple[str, Result]], list[News]]:
        """What has ended since the last time, and the news. Never blocks."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)
        return _take_all(self._results), _take_all(self._news)

    def _run(self, name: str, work: Callable[[], Result]) -> None:
        result = work()
        if os.getpid() != self._process_id:
            # Code of a unit called fork, and its child came back out of it: the rest is the parent's affair.
            os._exit(0)
        self._results.append((name, result))
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self.descriptor, 1)


Item = TypeVar("Item")


def _take_all(waiting: deque[Item]) -> list[Item]:
    """All that is there now; others may append meanwhile."""
    taken: list[Item] = []
    with contextlib.suppress(IndexError):
        while True:
            taken.append(waiting.popleft())
    return taken
