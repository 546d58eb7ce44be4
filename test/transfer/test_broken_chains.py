"""Chains that lack an element: remembered, mended, and never in the way."""

import pytest
from memory_peer import offered

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.transfer.broken_chains import (
    BROKEN,
    MAX_BROKEN,
    BrokenChain,
    BrokenChains,
    breaks_chain,
    list_broken_chains,
)

SOURCE = SourceUrl("/host/log")


def broken(number=0, predecessor=b"before"):
    return BrokenChain("peer", ElementId.parse(f"/host/20261120{number:06}-log-inc"), predecessor, 7.0)


def test_only_what_is_worth_nothing_alone_breaks_a_chain():
    full, incremental = offered().metainfo, offered(BackupType="inc").metainfo
    assert not breaks_chain(SOURCE, full)
    assert breaks_chain(SOURCE, incremental)
    assert not breaks_chain(SourceUrl("/host/log.members"), incremental)


def test_what_is_told_again_is_one_and_the_latest_are_kept(tmp_path):
    chains = BrokenChains(str(tmp_path / "agents" / "default"))
    chains.add([broken(), broken()])
    chains.add([broken()])
    chains.add([broken(number) for number in range(MAX_BROKEN + 1)])
    found = list_broken_chains(str(tmp_path))
    assert len(found) == MAX_BROKEN
    assert found[-1] == broken(MAX_BROKEN)


def test_a_full_that_is_older_mends_nothing(tmp_path):
    chains = BrokenChains(str(tmp_path / "agents" / "default"))
    chains.add([broken()])
    chains.received(SOURCE, offered(time=0).metainfo)
    assert list_broken_chains(str(tmp_path)) == [broken()]
    chains.received(SourceUrl("/host/other"), offered(time=1 << 31).metainfo)
    assert list_broken_chains(str(tmp_path)) == [broken()]
    chains.received(SOURCE, offered(time=1 << 31).metainfo)
    assert list_broken_chains(str(tmp_path)) == []


@pytest.mark.parametrize("content", ["", "7", "[7]", '[{"peer": "a"}]', "[" * 99999])
def test_a_file_that_makes_no_sense_is_passed_over(tmp_path, content):
    directory = tmp_path / "agents" / "default"
    directory.mkdir(parents=True)
    (directory / BROKEN).write_text(content)
    assert list_broken_chains(str(tmp_path)) == []
    chains = BrokenChains(str(directory))
    chains.add([broken()])
    assert list_broken_chains(str(tmp_path)) == [broken()]


def test_without_a_directory_and_with_one_that_cannot_be_written_nothing_fails(tmp_path):
    (tmp_path / "file").write_text("")
    for directory in (None, str(tmp_path / "file" / "agents")):
        chains = BrokenChains(directory)
        chains.add([broken()])
        chains.received(SOURCE, offered(time=1 << 31).metainfo)
