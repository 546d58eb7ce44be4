"""Lists a storage with its catalogue, in a process that may be killed in the middle of writing the index.

usage: catalogue_child.py BASE INDEX INSTRUCTIONS      INSTRUCTIONS of SQLite until it kills itself, 0: never
"""

import os
import signal
import sqlite3
import sys
import time

from guerillabackup.storage import catalogue
from guerillabackup.storage.default_file import DefaultFileStorage


def main() -> None:
    base, index, instructions = sys.argv[1], sys.argv[2], int(sys.argv[3])
    catalogue.MAX_PENDING = 7  # an entry is written in several parts
    if instructions:
        connect, left = sqlite3.connect, [instructions]

        def count() -> int:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return 0

        def counting(*arguments: object, **options: object) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
            connection.set_progress_handler(count, 1)
            return connection

        sqlite3.connect = counting  # type: ignore[assignment]
    with DefaultFileStorage(base) as storage:
        subject = catalogue.Catalogue(base, index, lambda: storage, lambda: time.time_ns() + catalogue.YOUNG)
        for facts in subject.list_facts():
            print(*facts)


if __name__ == "__main__":
    main()
