"""The command `restore`: what it writes and how it ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time

import pytest
from cli_host import configured_host
from failing_tar import failing_tar
from hand_made import make_incremental
from sample_source import gpg_home

from guerillabackup.cli.format import human_time
from guerillabackup.pipeline.confinement import Confinement


@pytest.fixture
def host(tmp_path, capfd):
    with configured_host(tmp_path, capfd) as host:
        yield host


def test_a_restore_says_what_it_restored_and_ends_with_0(host):
    host.source().back_up("full")
    status, output, errors = host("restore", "/host/tree", "--to", host.path / "out")
    assert status == 0
    assert output.startswith(f"restored /host/tree to {host.path / 'out'}: the state of /host/2023")
    assert output.endswith("-full, from 1 element\n")
    assert "warning: element /host/20231114221320-tree-full: it is not signed" in errors
    assert (host.path / "out" / "etc" / "passwd").read_text() == "root"


def test_a_restore_as_json_is_one_document(host):
    host.source().back_up("full")
    _, output, _ = host("restore", "/host/tree", "--to", host.path / "out", "--json")
    document = json.loads(output)
    assert document["elements"] == ["/host/20231114221320-tree-full"]
    assert document["written_to"] == str(host.path / "out")
    assert document["problems"] == []


def test_a_log_is_restored_to_a_file_that_is_named(host):
    host.source(source="/host/log").store("full", b"line\n")
    _, output, _ = host("restore", "/host/log", "--to", host.path / "out")
    assert output.endswith(f"is not an archive: its content is in {host.path / 'out' / 'log'}\n")


def test_damage_ends_with_4_and_nothing_written(host):
    element = host.source().back_up("full")
    host.data_path(element).write_bytes(b"damaged")
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out")
    assert status == 4
    assert "is not what its checksum says" in errors
    assert not (host.path / "out").exists()


def test_a_newest_element_that_is_gone_ends_with_4_and_what_to_type_for_an_older_one(host):
    source = host.source()
    older, newest = source.back_up("full"), source.back_up("inc")
    host.remember(newest)
    newest.delete()
    for way in (("--to", host.path / "out"), ("--list",)):
        status, _, errors = host("restore", "/host/tree", *way)
        assert status == 4
        assert len(errors.splitlines()) == 1
        assert f"{newest.get_element_id()}, the last element that was stored of /host/tree" in errors
        assert errors.endswith(f"type the same with --element {older.get_element_id()}\n")
    assert not (host.path / "out").exists()
    status, _, errors = host(
        "restore", "/host/tree", "--to", host.path / "a", "--element", older.get_element_id()
    )
    assert (status, "not in the storage" in errors) == (0, False)
    assert host("restore", "/host/tree", "--to", host.path / "b", "--at", "2023-11-15")[0] == 0


@pytest.mark.parametrize("is_copy", [False, True])
def test_where_elements_move_on_and_in_other_storages_an_older_one_is_restored(host, is_copy):
    source = host.source()
    source.back_up("full")
    newest = source.back_up("inc")
    host.remember(newest, "" if is_copy else "GeneralElementsMoveOn = True")
    newest.delete()
    shutil.copytree(host.path / "data", host.path / "copy")
    options = ("--storage", host.path / "copy") if is_copy else ()
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out", *options)
    assert (status, "it was moved on, or was deleted or lost" in errors) == (0, not is_copy)


def test_damage_is_told_with_the_last_element_that_can_be_restored(host):
    source = host.source()
    good, bad = source.back_up("full"), source.back_up("inc")
    data = bytearray(host.data_path(bad).read_bytes())
    data[-1] ^= 1
    host.data_path(bad).write_bytes(data)
    for way in (("--to", host.path / "out"), ("--list",)):
        status, _, errors = host("restore", "/host/tree", *way)
        assert status == 4
        assert f"{good.get_element_id()} is the last one before it, and was not verified itself" in errors
        assert "guerillabackup element verify /host/tree" in errors
    host.data_path(good).write_bytes(b"")
    _, _, errors = host("restore", "/host/tree", "--to", host.path / "out")
    assert "the last one before it" not in errors


def test_a_missing_key_ends_with_5_and_says_where_to_name_it(host):
    with gpg_home(("backup", "default")) as home:
        host.source(recipient=(home, "backup")).back_up("full")
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out")
    assert status == 5
    assert "--private-keyring" in errors


def test_a_private_keyring_that_is_away_is_told_of_without_the_advice_to_make_one(host):
    with gpg_home(("backup", "default")) as home:
        host.source(recipient=(home, "backup")).back_up("full")
    away = ("--private-keyring", host.path / "away")
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out", *away)
    assert status == 5
    assert f"the private keyring {host.path / 'away'} is not there" in errors
    assert not (host.path / "out").exists()
    assert "key create" not in errors


def test_a_time_before_the_first_element_is_answered_with_a_time_to_read(host):
    host.source().back_up("full")
    status, _, errors = host("restore", "/host/tree", "--list", "--at", "@0")
    assert status == 1
    assert "2023-11-14 22:13:20Z" in errors


def test_the_private_keyring_of_the_command_line_decrypts(host):
    with gpg_home(("backup", "default")) as home:
        host.source(recipient=(home, "backup")).back_up("full")
        status, _, _ = host("restore", "/host/tree", "--to", host.path / "out", "--private-keyring", home)
    assert status == 0


def test_an_unknown_source_ends_with_1_and_names_close_ones(host):
    host.source().back_up("full")
    host.source(source="/host/tree.members").store("full", b"list")
    status, _, errors = host("restore", "/host/trie", "--to", host.path / "out")
    assert status == 1
    assert "did you mean /host/tree\n" in errors


def test_a_target_that_is_not_empty_ends_with_1(host):
    host.source().back_up("full")
    status, _, errors = host("restore", "/host/tree", "--to", host.path)
    assert status == 1
    assert "is not empty" in errors
    assert "--into-existing" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--to", ""),
        ("--to", "x", "--list"),
        ("--to", "x", "--include", ""),
        ("--list", "--include", ""),
        ("--to", "x", "--at", "@0", "--element", "/host/20231114221320-tree-full"),
    ],
)
def test_options_that_exclude_each_other_or_lack_end_with_2(host, arguments):
    assert host("restore", "/host/tree", *arguments)[0] == 2


@pytest.mark.parametrize("place", ["data", "data/host/new", "link/new"])
def test_a_target_in_a_storage_is_refused(host, place):
    host.source().back_up("full")
    os.symlink(host.path / "data", host.path / "link")
    before = sorted((host.path / "data").rglob("*"))
    status, _, errors = host("restore", "/host/tree", "--to", host.path / place, "--into-existing")
    assert status == 1
    assert "where nothing but elements may be" in errors
    assert sorted((host.path / "data").rglob("*")) == before


@pytest.mark.parametrize("source", ["host/tree", "/host/tree/", "", "/host/a b"])
def test_a_name_that_cannot_be_that_of_a_source_ends_with_2_and_the_form(host, source):
    status, _, errors = host("restore", source, "--list")
    assert status == 2
    assert "like /myhost/system/root" in " ".join(errors.split())


def test_an_element_without_a_slash_ends_with_2_and_the_form(host):
    status, _, errors = host("restore", "/host/tree", "--list", "--element", "20231114221320-tree-full")
    assert status == 2
    assert "/myhost/system/20261120140000-root-full" in " ".join(errors.split())


def test_a_time_that_cannot_be_meant_is_wrong_usage_and_says_what_is_expected(host):
    status, _, errors = host("restore", "/host/tree", "--to", "x", "--at", "yesterday")
    assert status == 2
    assert "time 'yesterday' is not understood: expected YYYY-MM-DD" in errors


def test_an_element_of_another_source_ends_with_1(host):
    arguments = ("--to", "x", "--element", "/other/20231114221320-x-full")
    assert host("restore", "/host/tree", *arguments)[0] == 1


def test_a_choice_of_members_is_told_with_how_many_it_took(host):
    source = host.source()
    for name in ("hosts", "group"):
        (source.tree / "etc" / name).write_text(name)
    full = source.back_up("full").get_element_id()
    out = host.path / "out"
    _, output, _ = host("restore", "/host/tree", "--to", out, "--include", "etc/*s*")
    assert output == f"restored 2 members of /host/tree to {out}: the state of {full}, from 1 element\n"
    _, output, _ = host("restore", "/host/tree", "--to", out / "one", "--include", "etc/hosts", "--json")
    assert json.loads(output)["members"] == 1


def test_what_kept_tar_inside_of_the_target_is_told(host):
    host.source().back_up("full")
    out = host.path / "out"
    _, output, _ = host("restore", "/host/tree", "--to", out, "--json")
    (inside := host.path / "inside").mkdir()
    confinement = Confinement(str(inside))
    confinement.start(lambda: None)
    assert json.loads(output)["confined_by"] == list(confinement.confined_by)
    host.source(source="/host/dump").store("full", b"content")
    _, output, _ = host("restore", "/host/dump", "--to", out / "dump", "--into-existing", "--json")
    assert json.loads(output)["confined_by"] is None


def test_the_listing_is_in_the_order_of_the_tree_whatever_is_in_the_archive(host):
    source = host.source()
    for name in ("z", "etc/zz", "etc/a", "etc-b", "a"):
        (source.tree / name).write_text(name)
    for kind in ("full", "inc"):
        source.back_up(kind)
        _, output, _ = host("restore", "/host/tree", "--list")
        names = [line[53:] for line in output.splitlines() if not line.startswith("#")]
        assert names == [".", "a", "etc", "etc/a", "etc/passwd", "etc/zz", "etc-b", "z"]


def test_the_state_of_a_time_is_restored(host):
    source = host.source()
    source.back_up("full")
    (source.tree / "later").write_text("later")
    source.back_up("inc")
    for moment, names in (("2023-11-14T22:30Z", ["etc"]), ("@1700003600", ["etc", "later"])):
        host("restore", "/host/tree", "--to", host.path / moment, "--at", moment)
        assert sorted(os.listdir(host.path / moment)) == names


def test_the_listing_has_the_chain_and_the_members(host):
    source = host.source()
    source.back_up("full")
    (source.tree / "with\nnewline").write_text("12345")
    source.back_up("inc")
    status, output, _ = host("restore", "/host/tree", "--list")
    lines = output.splitlines()
    assert status == 0
    assert [line.split()[1] for line in lines[:2]] == [
        "/host/20231114221320-tree-full",
        "/host/20231114231320-tree-inc",
    ]
    assert all(line.endswith("verified") for line in lines[:2])
    assert [(line.split()[0], line[53:]) for line in lines[2:]] == [
        ("directory", "."),
        ("directory", "etc"),
        ("file", "etc/passwd"),
        ("file", r"with\012newline"),
    ]
    size, *time = lines[4].split()[1:-1]
    modified = (source.tree / "etc" / "passwd").stat().st_mtime
    assert (size, " ".join(time)) == ("4", human_time(int(modified)))


@pytest.mark.parametrize(
    "name", ["a*b", "a[1]", "back\\slash", r"a\012", "new\nline", "it's", " ", os.fsdecode(b"\xff")]
)
def test_a_name_as_it_is_listed_includes_exactly_that(host, name):
    source = host.source()
    (source.tree / name).write_text("wanted")
    (source.tree / "a1").write_text("other")
    source.back_up("full")
    _, output, _ = host("restore", "/host/tree", "--list")
    listed = {line[53:] for line in output.splitlines()[1:]} - {".", "etc", "etc/passwd", "a1"}
    include = ("--include", *listed)
    assert host("restore", "/host/tree", "--to", host.path / "out", *include)[0] == 0
    assert os.listdir(host.path / "out") == [name]
    _, output, _ = host("restore", "/host/tree", "--list", *include)
    assert {line[53:] for line in output.splitlines()[1:]} == listed


@pytest.mark.parametrize("kind", ["full", "inc"])
def test_a_list_of_what_is_not_there_ends_with_1_and_names_the_pattern(host, kind):
    source = host.source()
    source.back_up("full")
    if kind == "inc":
        source.back_up("inc")
    status, output, errors = host("restore", "/host/tree", "--list", "--include", "etc", "--include", "zz")
    assert status == 1
    assert "no member of this state matches 'zz'" in errors
    assert "etc/passwd" in output


@pytest.mark.parametrize("kind", ["full", "inc"])
def test_a_socket_is_said_to_be_listed_and_never_archived(host, kind):
    source = host.source()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source.tree / "etc" / "sock"))
    source.back_up("full")
    if kind == "inc":
        source.back_up("inc")
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out", "--include", "etc/sock")
    assert status == 1
    assert "what matches 'etc/sock' is listed, but was never archived" in errors
    assert "no member" not in errors
    assert not (host.path / "out").exists()


def test_the_listing_as_json_can_be_chosen_from(host):
    host.source().back_up("full")
    _, output, _ = host("restore", "/host/tree", "--list", "--include", "etc/*", "--json")
    chain, *members = json.loads(output)
    assert (chain["type"], chain["verified"]) == ("full", True)
    assert [(each["member"], each["type"], each["size"]) for each in members] == [("etc/passwd", "file", 4)]


def test_a_listing_of_damaged_elements_says_so_and_ends_with_4(host):
    element = host.source().back_up("full")
    host.data_path(element).write_bytes(b"damaged")
    status, output, errors = host("restore", "/host/tree", "--list")
    assert status == 4
    assert "NOT VERIFIED" in output
    assert "checksum" in errors


def test_what_is_lost_ends_with_1_and_is_named(host):
    source = host.source()
    source.back_up("full")
    source.store("inc", make_incremental({b"./": b"\0"}))
    source.store("inc", make_incremental({b"./": b"Detc\0\0", b"./etc/": b"Npasswd\0\0"}))
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out")
    assert status == 1
    assert "error: 1 member is missing: 'etc/passwd'" in errors


def test_what_could_not_be_unpacked_whole_is_not_merged_and_the_message_says_so(host, monkeypatch):
    host.source().back_up("full")
    failing_tar(host.path, monkeypatch, "./etc/passwd: Cannot write: Input/output error")
    (host.path / "out" / "etc").mkdir(parents=True)
    (host.path / "out" / "etc" / "passwd").write_text("good")
    status, output, errors = host("restore", "/host/tree", "--to", host.path / "out", "--into-existing")
    assert (status, output) == (1, "")
    assert f"nothing was changed in {host.path / 'out'}" in errors
    assert (host.path / "out" / "etc" / "passwd").read_text() == "good"


def test_a_choice_of_what_was_deleted_ends_with_1_and_says_where_to_look(host):
    source = host.source()
    source.back_up("full")
    (source.tree / "etc" / "passwd").unlink()
    source.back_up("inc")
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out", "--include", "etc/passwd")
    assert status == 1
    assert "--at or --element" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_restore_that_is_told_to_end_leaves_no_homes_and_no_staging(host, tmp_path, number):
    source = host.source()
    (source.tree / "big").write_bytes(os.urandom(1 << 20) * 64)
    source.back_up("full")
    target = host.path / "out"
    target.mkdir()
    (target / "own").write_text("own")
    (tmp_path / "tmp").mkdir()
    program = "from guerillabackup.cli.main import main; main()"
    arguments = ["restore", "/host/tree", "--to", str(target), "--into-existing"]
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--config-dir", str(host.path / "etc")],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.PIPE,
        text=True,
    )
    while child.poll() is None and not [name for name in os.listdir(target) if name != "own"]:
        time.sleep(0.005)
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    assert child.returncode in (0, 130), errors
    if child.returncode == 130:
        assert os.listdir(target) == ["own"]
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_restore_ends_with_130_and_names_what_is_half_done(host, number):
    source = host.source()
    for name in range(2000):
        (source.tree / f"file{name}").write_text("content")
    source.back_up("full")
    target = host.path / "out"
    arguments = ["restore", "/host/tree", "--to", str(target), "--config-dir", str(host.path / "etc")]
    # tar goes on for as long as its output is not to be written: nothing is timed here.
    slow = host.path / "programs"
    slow.mkdir()
    (slow / "tar").write_text(f'#!/bin/sh\n{shutil.which("tar")} "$@"\nsleep 600\n')
    (slow / "tar").chmod(0o755)
    child = subprocess.Popen(
        [sys.executable, "-m", "guerillabackup.cli.main", *arguments],
        env={**os.environ, "PATH": f"{slow}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while child.poll() is None and not (target / "file1999").exists():
        time.sleep(0.005)
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert f"warning: what is in {target} is incomplete: remove it before you restore again" in errors
    assert "error: interrupted" in errors


def test_a_restore_without_tar_is_refused_before_it_makes_anything(host, tmp_path, monkeypatch):
    host.source().back_up("full")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("gpg", "zstd", "sh"):
        (programs / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(programs))
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out")
    assert status == 1
    assert "unpacked by tar, which is not there: install the package tar" in errors
    assert not (host.path / "out").exists()


@pytest.mark.parametrize("name", ["../victim/f", "a/../../victim/f"])
def test_an_archive_that_leads_out_ends_with_4_however_it_is_read(host, name):
    host.source().store(
        "full", make_incremental({}, [("in", tarfile.REGTYPE, b"x"), (name, tarfile.REGTYPE, b"x")])
    )
    for way in (("--to", host.path / "out"), ("--list",)):
        status, output, errors = host("restore", "/host/tree", *way)
        assert status == 4
        assert f"an archive holds the name '{name}', which leads out of it" in errors
        assert "restored" not in output
    assert not (host.path / "victim").exists()


def test_what_is_restored_in_part_is_said_to_be(host):
    members = [("f", tarfile.REGTYPE, b"x"), ("f/g", tarfile.REGTYPE, b"x")]
    host.source().store("full", make_incremental({}, members))
    status, output, _ = host("restore", "/host/tree", "--to", host.path / "out")
    assert status == 1
    assert output.startswith("restored in part /host/tree to ")
