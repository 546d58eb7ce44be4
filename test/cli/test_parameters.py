"""What a shell is proposed for an argument, as the program answers it."""

import pytest
from cli_host import configured_host

FULL = "/host/20231114221320-tree-full"


@pytest.fixture
def host(tmp_path, capfd):
    with configured_host(tmp_path, capfd) as host:
        yield host


@pytest.fixture
def complete(host, monkeypatch):
    """What bash is proposed after a command line; the last word is what was typed of the next one."""

    def ask(*words):
        monkeypatch.setenv("_GUERILLABACKUP_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["guerillabackup", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        _, output, errors = host()
        assert errors == ""
        return [line.partition(",")[2] for line in output.splitlines() if line]

    return ask


def test_sources_are_proposed_without_those_that_list_members(host, complete):
    host.source().back_up("full")
    host.source(source="/host/tree.members").store("full", b"list")
    assert complete("restore", "/ho") == ["/host/tree"]
    assert complete("restore", "/x") == []
    assert complete("element", "list", "/") == ["/host/tree"]


def test_elements_are_proposed_the_lists_of_members_last(host, complete):
    host.source(source="/host/tree.members").store("full", b"list")
    host.source().back_up("full")
    names = [FULL, "/host/20231114221320-tree.members-full"]
    assert complete("element", "show", "/host/2") == names
    assert complete("restore", "/host/tree", "--element", "/") == names
    assert complete("element", "verify", "/h") == ["/host/tree", *names]


def test_units_keys_and_configuration_keys_are_proposed(host, complete, capfd):
    (host.path / "etc" / "units").mkdir()
    (host.path / "etc" / "units" / "Tar").touch()
    assert host("key", "create", "myhost", "--purpose", "sign")[0] == 0
    assert complete("config", "show", "--unit", "T") == ["Tar"]
    assert complete("generator", "run", "--unit", "T") == ["Tar"]
    assert complete("unit", "disable", "T") == ["Tar"]
    assert complete("unit", "enable", "Tar") == ["TarBackupUnit"]
    assert complete("key", "export", "my") == ["myhost"]
    assert complete("config", "show", "GeneralSigning") == ["GeneralSigningKey"]


def test_another_storage_and_configuration_are_looked_into_when_they_are_named(host, complete, monkeypatch):
    host.source().back_up("full")
    monkeypatch.setenv("GUERILLABACKUP_CONFIG_DIR", "/nonexistent")
    assert complete("restore", "/") == []
    assert complete("restore", "--config-dir", str(host.path / "etc"), "/") == ["/host/tree"]
    monkeypatch.setenv("GUERILLABACKUP_CONFIG_DIR", str(host.path / "etc"))
    assert complete("restore", "--storage", str(host.path), "/data/h") == ["/data/host/tree"]


def test_a_broken_configuration_proposes_nothing_and_says_nothing(host, complete):
    (host.path / "etc" / "config").write_text("print('hello')\nraise SystemExit\n")
    assert complete("restore", "/") == []
