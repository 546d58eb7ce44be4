import hashlib

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.transfer.evidence import list_evidence
from guerillabackup.transfer.quarantine import Quarantine, agent_directory

METAINFO = BackupElementMetainfo(
    {"BackupType": "full", "Timestamp": 1, "StorageFileChecksumSha512": hashlib.sha512().digest()}
)


def put(state, agent, key, source, reason, now):
    quarantine = Quarantine(agent_directory(str(state), agent), now=lambda: now)
    quarantine.put(key, SourceUrl(source), METAINFO, reason)


def test_what_was_refused_is_told_of_all_agents_the_latest_first(tmp_path):
    put(tmp_path, "alpha", b"1" * 16, "/alpha/s", "its checksum is wrong", 100.0)
    put(tmp_path, "o dd/é", b"2" * 16, "/beta/s", "its source is not its own", 200.0)
    put(tmp_path, "alpha", b"1" * 16, "/alpha/s", "its checksum is wrong", 300.0)
    first, second = list_evidence(str(tmp_path))
    assert (first["peer"], first["source"], first["count"]) == ("alpha", "/alpha/s", 2)
    assert (first["first"], first["last"], first["reason"]) == (100, 300, "its checksum is wrong")
    assert (second["peer"], second["has_data"]) == ("o dd/é", False)


def test_without_a_quarantine_nothing_was_refused_and_what_is_no_reason_is_left_out(tmp_path):
    assert list_evidence(str(tmp_path)) == []
    directory = tmp_path / "quarantine" / "alpha"
    directory.mkdir(parents=True)
    for number, text in enumerate(("", "[]", "{}", '{"Source": 1}', "[" * 100_000)):
        (directory / f"{number}.reason").write_text(text)
    assert list_evidence(str(tmp_path)) == []
