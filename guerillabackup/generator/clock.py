"""How the clock stands to the start of the machine. Touches: time."""

import time

from guerillabackup.generator.timing import ClockAnchor

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def read_anchor() -> ClockAnchor | None:
    """The system clock's anchor right now; None where the system does not tell when it was started.

    Time in which the machine slept counts, and what NTP does to the rate of the clocks it does to both.
    """
    try:
        with open(BOOT_ID, encoding="ascii") as file:
            boot_id = file.read(64).strip()
        return ClockAnchor(boot_id, time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, ValueError):
        return None
