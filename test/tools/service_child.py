"""Runs the generator's service as its command does, with a clock and delays that a test sets.

usage: service_child.py CONFIG_DIRECTORY

GENERATOR_CLOCK names a file of 8 bytes, a double: the seconds by which the clock is wrong, read each time.
GENERATOR_RETRY is the first delay after a failure, in seconds.
"""

import logging
import mmap
import os
import struct
import sys
import time

from guerillabackup.generator import retry, schedule
from guerillabackup.generator.service import run_service


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    delay = os.environ.get("GENERATOR_RETRY")
    if delay is not None:
        retry.FIRST_SECONDS = float(delay)
        schedule.CONDITION_SECONDS = float(delay)
    path = os.environ.get("GENERATOR_CLOCK")
    if path is None:
        run_service(sys.argv[1])
    else:
        with open(path, "rb") as file:
            offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
        run_service(sys.argv[1], clock=lambda: time.time() + struct.unpack("d", offset)[0])
    os._exit(0)


if __name__ == "__main__":
    main()
