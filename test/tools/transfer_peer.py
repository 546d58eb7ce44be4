"""Runs the transfer service as its command does, with a clock and a patience that a test sets.

    python transfer_peer.py CONFIG_DIRECTORY

TRANSFER_CLOCK names a file of 8 bytes, a double: the seconds by which the clock is wrong, read each time.
TRANSFER_PACE is how many seconds a peer may be silent, take for a message, and take for 64 KiB of an element.
Touches: dataclasses, logging, mmap, os, struct, time.
"""

import dataclasses
import logging
import mmap
import os
import struct
import sys
import time


def set_clock(path: str) -> None:
    """Before anything is imported that remembers `time.time`."""
    with open(path, "rb") as file:
        offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    right = time.time
    time.time = lambda: right() + struct.unpack("d", offset)[0]


def main() -> None:
    if (clock := os.environ.get("TRANSFER_CLOCK")) is not None:
        set_clock(clock)
    from guerillabackup.transfer.pace import PaceLimits
    from guerillabackup.transfer.service import Source, run_service

    if (pace := os.environ.get("TRANSFER_PACE")) is not None:
        silence, message, progress = map(float, pace.split(","))
        limits = PaceLimits(silence_seconds=silence, message_seconds=message, progress_seconds=progress)
        PaceLimits.__init__.__defaults__ = dataclasses.astuple(limits)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    run_service(Source(sys.argv[1]))


if __name__ == "__main__":
    main()
