"""The log of a service as lines of JSON on standard output, for `--json`.

Touches: fcntl, logging, sys.
"""

import contextlib
import fcntl
import json
import logging
import sys
from collections.abc import Iterator
from typing import TextIO

from guerillabackup.cli.own_output import FIRST_DESCRIPTOR, kept_for_us


class _JsonHandler(logging.Handler):
    """Each record a JSON object on a line; once nobody takes them, they go to the handlers before."""

    def __init__(self, stream: TextIO, before: list[logging.Handler]) -> None:
        super().__init__()
        self._stream = stream
        self._before = before
        self._is_lost = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_lost:
            try:
                self._stream.write(_describe(record) + "\n")
                return
            except (OSError, ValueError):
                self._is_lost = True  # the backups are made all the same
        for handler in self._before:
            handler.handle(record)


@contextlib.contextmanager
def log_as_json_lines(is_wanted: bool) -> Iterator[None]:
    """Have what is logged inside written to standard output so; what units print goes to standard error."""
    ours = _open_own_output() if is_wanted else None
    if ours is None:
        yield
        return
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers[:] = [_JsonHandler(ours, before)]
    try:
        with kept_for_us():
            yield
    finally:
        root.handlers[:] = before
        with contextlib.suppress(OSError):
            ours.close()


def _open_own_output() -> TextIO | None:
    """Standard output by another number; None where there is none."""
    try:
        sys.stdout.flush()
        descriptor = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR)
    except (AttributeError, OSError):
        return None
    return open(descriptor, "w", encoding="ascii", buffering=1)


def _describe(record: logging.LogRecord) -> str:
    described = {
        "time": record.created,
        "level": record.levelname.lower(),
        "message": record.getMessage(),
    }
    if record.exc_info:
        described["traceback"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(described)
