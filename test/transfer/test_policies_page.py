"""doc/Policies.txt names every setting that there is, and none that there is not."""

import re
from pathlib import Path

import pytest

from guerillabackup.transfer import peer_settings, receiver_settings, sender_settings

PAGE = (Path(__file__).parents[2] / "doc" / "Policies.txt").read_text()


@pytest.mark.parametrize(
    ("heading", "settings"),
    [
        ("Sending", sender_settings.SETTINGS),
        ("Receiving", receiver_settings.SETTINGS),
        ("Peers", peer_settings.SETTINGS),
    ],
)
def test_the_page_has_each_setting(heading, settings):
    section = re.split(r"\n\n\n", PAGE.split(f"\n{heading}\n---", 1)[1])[0]
    listed = re.findall(r"^    ((?:[A-Z][A-Za-z]+, )*[A-Z][A-Za-z]+) (?!=)", section, re.MULTILINE)
    names = {name for line in listed for name in line.split(", ")}
    assert names == set(settings)
