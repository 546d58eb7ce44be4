"""Commands as a user without any rights but its own, which root becomes for them."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def user_place():
    """A short-lived directory of the ordinary user's; others can enter no directory of pytest's."""
    place = tempfile.mkdtemp(prefix="gb", dir="/tmp")
    if os.geteuid() == 0:
        os.chown(place, NOBODY, NOBODY)
    try:
        yield Path(place)
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", place], check=False)
        shutil.rmtree(place)


def as_user(argv, **options):
    """Run a command as that user; its outcome, with what it wrote as text."""
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    argv = [*(become if os.geteuid() == 0 else []), *map(str, argv)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, **options)
