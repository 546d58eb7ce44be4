"""What a shell is proposed for an argument, as the program answers it."""

import subprocess
import sys

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
    assert complete("element", "verify", "/h") == ["/host/tree", *names]


def test_elements_to_restore_are_those_of_the_source_that_is_named(host, complete):
    host.source().back_up("full")
    host.source(source="/host/tree.members").store("full", b"list")
    host.source(source="/host/other").store("full", b"data")
    other = FULL.replace("tree", "other")
    assert complete("restore", "/host/tree", "--element", "/") == [FULL]
    assert complete("restore", "--element", "/") == [other, FULL]


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


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("restore", "--to", "/x"), "dir"),
        (("restore", "--storage", "/x"), "dir"),
        (("element", "cat", "--private-keyring", "/x"), "dir"),
        (("element", "list", "--config-dir", "/x"), "dir"),
        (("config", "init", "--base", "/x"), "dir"),
        (("restore", "--passphrase-file", "/x"), "file"),
        (("key", "import", "/x"), "file"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_paths_are_left_to_the_shell(host, monkeypatch, shell, words, kind):
    monkeypatch.setenv("_GUERILLABACKUP_COMPLETE", f"{shell}_complete")
    words = ["guerillabackup", *words]
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
    _, output, _ = host()
    assert output.replace("\n", ",").startswith(f"{kind},")


def test_a_real_bash_completes_sources_and_directories(host, monkeypatch, tmp_path):
    host.source().back_up("full")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "guerillabackup"
    code = "from guerillabackup.cli.main import main; main()"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n")
    program.chmod(0o755)
    script = f"""
        PATH={tmp_path / "bin"}:$PATH
        eval "$(guerillabackup completion bash)"
        compopt() {{ echo "compopt $1 $2"; }}
        complete_words() {{
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _guerillabackup_completion guerillabackup
            echo "${{COMPREPLY[@]}}"
        }}
        complete_words guerillabackup restore /ho
        complete_words guerillabackup restore --to /tm
        complete_words guerillabackup key export my
        complete_words guerillabackup key export "'my"
    """
    assert host("key", "create", "my host's", "--purpose", "sign")[0] == 0
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "/host/tree"
    assert "compopt -o dirnames" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["my\\ host\\'s", "my host's"]
