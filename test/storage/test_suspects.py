"""What names alone tell of elements that are gone in part."""

import pytest

from guerillabackup.storage.interface import ElementSelection
from guerillabackup.storage.suspects import find_suspects

WHOLE = ["20260101000000-root-full", "20260101000000-root.members-full"]


@pytest.mark.parametrize(
    ("left", "found"),
    [
        ([], {}),
        (["20260102000000-root-inc.data"], {"/h/root": "20260102000000"}),
        (["20260102000000-root-inc.info"], {"/h/root": "20260102000000"}),
        (
            ["20260103000000-root.members-full.data", "20260103000000-root.members-full.info"],
            {"/h/root": "20260103000000"},
        ),
        (["junk.info", "20260102000000-other-inc.info"], {}),
    ],
)
def test_a_part_that_is_alone_tells_of_its_element(tmp_path, left, found):
    (tmp_path / "h").mkdir()
    for name in (*left, *(f"{stem}.{suffix}" for stem in WHOLE for suffix in ("data", "info"))):
        (tmp_path / "h" / name).touch()
    assert find_suspects(str(tmp_path), ElementSelection("/h/root")) == found
