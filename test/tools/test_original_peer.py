"""The machine's apt sources, in each form that Debian has, lead to the suite of the original."""

import pytest
from original_peer import PeerUnavailableError, peer_source

MODERN = """\
# See the manual page
Types: deb deb-src
# a snapshot
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_a_modern_source_keeps_all_but_its_suite_and_components():
    assert peer_source({"/etc/apt/sources.list.d/debian.sources": MODERN}) == (
        "peer.sources",
        "Types: deb\nUris: http://mirror.example/debian\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/archive.gpg\n",
    )


def test_a_key_that_stands_in_the_source_itself_is_kept_whole():
    key = "Signed-By:\n -----BEGIN-----\n .\n abc\n -----END-----\n"
    text = f"Types: deb\nURIs: http://mirror.example/\nSuites: stable\nComponents: main\n{key}"
    assert peer_source({"a.sources": text})[1].endswith(
        "Signed-By: \n -----BEGIN-----\n .\n abc\n -----END-----\n"
    )


def test_a_source_that_is_switched_off_or_of_somebody_else_is_passed_over():
    texts = {
        "a.sources": "Types: deb\nURIs: http://other.example/\nSuites: nodistro\nComponents: main\n",
        "b.sources": "Enabled: no\n" + MODERN,
        "c.list": "deb http://mirror.example/debian-security bookworm-security main\n",
        "d.list": "deb-src http://mirror.example/debian bookworm main\n# deb http://x.example bookworm main\n"
        "deb http://mirror.example/debian bookworm main\n",
    }
    assert peer_source(texts) == ("peer.list", "deb http://mirror.example/debian trixie main\n")


def test_a_source_of_one_line_keeps_its_options():
    text = (
        "deb [signed-by=/usr/share/keyrings/archive.gpg arch=amd64] http://mirror.example/d bookworm main\n"
    )
    assert peer_source({"/etc/apt/sources.list": text})[1] == (
        "deb [signed-by=/usr/share/keyrings/archive.gpg arch=amd64] http://mirror.example/d trixie main\n"
    )


@pytest.mark.parametrize("texts", [{}, {"a.sources": ""}, {"a.list": "deb\n"}, {"a.txt": MODERN}])
def test_without_a_debian_source_the_peer_is_said_to_be_unavailable(texts):
    with pytest.raises(PeerUnavailableError, match="no Debian archive"):
        peer_source(texts)
