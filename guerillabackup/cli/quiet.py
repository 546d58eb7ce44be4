"""What `--quiet` holds back: warnings of settings, which are the same at each run until they change.

Once an hour in the mail they would be read by nobody, and what is new with them neither. They come with
whatever else there is to say, and `config check` has them always. Touches: logging.
"""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def hold_standing_warnings(is_quiet: bool) -> Iterator[None]:
    """Let log records marked `is_standing` wait for another warning, which may not come."""
    held: list[logging.LogRecord] = []
    is_worse = False

    def hold(record: logging.LogRecord) -> bool:
        nonlocal is_worse
        if getattr(record, "is_standing", False):
            held.append(record)
            return False
        is_worse = is_worse or record.levelno >= logging.WARNING
        return True

    handlers = list(logging.getLogger().handlers) if is_quiet else []
    for handler in handlers:
        handler.addFilter(hold)
    try:
        yield
    except BaseException:
        is_worse = True
        raise
    finally:
        for handler in handlers:
            handler.removeFilter(hold)
            for record in dict.fromkeys(held) if is_worse else ():
                handler.handle(record)
