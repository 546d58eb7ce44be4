"""What the scenarios share: the original as a peer, fetched once."""

import os
from pathlib import Path

import pytest
from original_peer import Original, PeerUnavailableError, fetch_original

REPOSITORY = Path(__file__).parent.parent.parent


def cache_directory() -> Path:
    """Where the original is kept between runs: in the repository where that can be written."""
    if os.access(REPOSITORY, os.W_OK):
        return REPOSITORY / "build" / "original"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "guerillabackup-test" / "original"


@pytest.fixture(scope="session")
def original() -> Original:
    """The original 0.5.0. What cannot fetch it skips, saying why; the checks that decide (CI=true) fail."""
    try:
        return fetch_original(cache_directory())
    except PeerUnavailableError as error:
        message = f"the original GuerillaBackup cannot be fetched: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
