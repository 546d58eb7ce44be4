"""For all tests: none is slow or fast by the clock, and none touches the machine it runs on."""

import os

import pytest
from hypothesis import settings

# A loaded machine is slow at anything.
settings.register_profile("guerillabackup", deadline=None)
settings.load_profile("guerillabackup")

NOT_OURS = ("/etc/passwd", "/etc/group", "/etc/fstab", "/bin/sh")
"""Files that hostile links and names in tests like to lead to."""


@pytest.fixture(autouse=True)
def _the_machine_stays_as_it_is():
    """As root a test that follows its own hostile link would change it; the test that does so fails."""
    before = [_look(path) for path in NOT_OURS]
    yield
    after = [_look(path) for path in NOT_OURS]
    assert after == before, "a file of the machine itself was changed while this test ran"


def _look(path):
    try:
        status = os.stat(path)
    except OSError:
        return path, None
    return path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode
