"""The commands `element list|show|verify|cat|delete`: what they write and how they end."""

import base64
import json
import shutil
import subprocess
import sys

import pytest
from cli_host import configured_host
from terminal import run_at_terminal

FULL, INC = "/host/20231114221320-tree-full", "/host/20231114231320-tree-inc"


@pytest.fixture
def host(tmp_path, capfd):
    with configured_host(tmp_path, capfd) as host:
        yield host


@pytest.fixture
def source(host):
    """A source with a full and an incremental."""
    source = host.source()
    source.elements = [source.back_up("full"), source.back_up("inc")]
    return source


def test_elements_are_listed_one_a_line(host, source):
    assert host("element", "list") == (0, f"{FULL}\n{INC}\n", "")


def test_a_pattern_that_no_source_matches_ends_with_1_and_a_message(host, source):
    for pattern in ("/other", "*x"):
        status, output, errors = host("element", "list", pattern)
        assert (status, output) == (1, "")
        assert f"no source in the storage is {pattern}" in errors
    assert host("element", "list", "/other", "--json")[0] == 1


def test_lists_of_members_are_listed_when_they_are_asked_for(host, source):
    members = host.source(source="/host/tree.members").store("full", b"list").get_element_id()
    assert str(members) not in host("element", "list")[1]
    for arguments in (("--members",), ("/host/tree.members",), ("--json",)):
        assert str(members) in host("element", "list", *arguments)[1]


@pytest.mark.parametrize("name", ["nonsense", "/host/tree", "/host/20231114221320-tree", "host/tree/"])
@pytest.mark.parametrize("command", ["show", "cat", "delete"])
def test_a_name_that_cannot_be_that_of_an_element_ends_with_2_and_the_form(host, command, name):
    status, _, errors = host("element", command, name)
    assert status == 2
    assert "/myhost/system/20261120140000-root-full" in " ".join(errors.split())


def test_a_name_that_cannot_be_verified_ends_with_2_and_the_forms(host):
    status, _, errors = host("element", "verify", "host/tree")
    assert status == 2
    assert "/myhost/system/root" in errors


def test_a_long_list_has_time_type_and_size(host, source):
    _, output, _ = host("element", "list", "/host", "--long")
    assert output.splitlines()[1].split()[:3] == ["2023-11-14", "23:13:20Z", "inc"]
    assert output.splitlines()[1].endswith(INC)


def test_a_list_as_json_is_one_document(host, source):
    _, output, _ = host("element", "list", "--json")
    assert [(each["id"], each["type"]) for each in json.loads(output)] == [(FULL, "full"), (INC, "inc")]


def test_an_element_is_shown_with_its_metadata(host, source):
    _, output, _ = host("element", "show", INC)
    encoded = base64.b64encode(source.elements[0].get_metadata().data_uuid).decode()
    assert f"Predecessor:                {encoded}" in output
    assert "2023-11-14 23:13:20Z" in output
    assert "@1700003600" in output
    status, _, errors = host("element", "show", "/host/20200101000000-tree-full")
    assert status == 1
    assert "is not in the storage" in errors


def test_elements_in_order_are_verified_and_end_with_0(host, source):
    status, output, _ = host("element", "verify", "--all")
    assert status == 0
    assert output.splitlines() == [
        f"warning: {FULL}: it is not signed",
        f"warning: {INC}: it is not signed",
        "2 findings, 0 violations",
    ]


def test_a_violation_ends_with_4_and_is_a_line(host, source):
    host.data_path(source.elements[0]).write_bytes(b"damaged")
    status, output, _ = host("element", "verify", "/host/tree")
    assert status == 4
    assert f"violation: {FULL}: its data is not what its checksum says" in output
    _, output, _ = host("element", "verify", FULL, "--json")
    assert {each["severity"] for each in json.loads(output)} == {"violation", "warning"}


@pytest.mark.parametrize("arguments", [(), ("--all", "/host/tree")])
def test_verifying_nothing_or_everything_and_more_ends_with_2(host, arguments):
    assert host("element", "verify", *arguments)[0] == 2


def test_the_content_of_an_element_is_written_out_decoded_or_raw(host):
    element = host.source(source="/host/log").store("full", b"line\n")
    assert host("element", "cat", element.get_element_id()) == (0, "line\n", "")
    _, output, _ = host("element", "cat", element.get_element_id(), "--json")
    assert json.loads(output)["exit_status"] == 1


def test_an_element_with_damaged_metadata_is_shown_with_what_is_wrong_and_can_be_deleted(host, source):
    host.data_path(source.elements[1]).with_suffix(".info").write_text("{")
    status, output, _ = host("element", "show", INC)
    assert status == 4
    assert f"element {INC}: metadata" in output
    assert f"element {INC}: metadata" in host("element", "list", "--long")[1]
    assert host("element", "delete", INC, "--yes")[:2] == (0, f"deleted {INC}\n")


def test_data_for_a_standard_output_that_is_closed_ends_with_1(host, source):
    program = "from guerillabackup.cli.main import main; main()"
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", program, "element", "cat", FULL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "guerillabackup: error: cannot write the data: standard output is closed\n"


def test_deleting_takes_exactly_what_was_named(host, source):
    status, output, _ = host("element", "delete", INC, "--yes")
    assert (status, output) == (0, f"deleted {INC}\n")
    assert host("element", "list")[1] == f"{FULL}\n"


def test_deleting_tells_of_an_element_that_is_not_what_its_name_says(host, source, tmp_path):
    element = source.store("full", b"x", SourceUrl=str(source.source_url))
    old, new = str(element.get_element_id()), "/host/20991231000007-tree-full"
    for path in tmp_path.rglob(f"{old.rpartition('/')[2]}.*"):
        path.rename(path.parent / f"{new.rpartition('/')[2]}{path.suffix}")
    status, _, errors = host("element", "delete", new, "--yes")
    assert status == 0
    assert "were they renamed" in errors


def test_deleting_what_others_need_ends_with_1_unless_forced(host, source):
    status, _, errors = host("element", "delete", FULL, "--yes")
    assert status == 1
    assert f"element {FULL} is needed to restore {INC}" in errors
    assert host("element", "delete", FULL, "--yes", "--force")[0] == 0
    assert host("element", "list")[1] == f"{INC}\n"


def test_deleting_asks_at_a_terminal_and_without_an_answer_deletes_nothing(host, source):
    arguments = ("element", "delete", INC)
    status, output, shown = run_at_terminal(arguments, [("delete 1 element for good?", "n")])
    assert (status, output.strip()) == (1, "")
    assert INC in shown
    assert "error: not deleted: the answer was no" in shown
    assert host("element", "list")[1] == f"{FULL}\n{INC}\n"
    status, output, _ = run_at_terminal(arguments, [("for good?", "y")])
    assert (status, output.strip()) == (0, f"deleted {INC}")


def test_deleting_where_nobody_can_be_asked_is_wrong_usage(host, source):
    status, _, errors = host("element", "delete", INC)
    assert status == 2
    assert "say --yes" in errors
    assert host("element", "list")[1] == f"{FULL}\n{INC}\n"


def test_deleting_a_locked_element_ends_with_1_and_deletes_nothing(host, source):
    with source.elements[1].get_data_stream():
        status, _, errors = host("element", "delete", FULL, INC, "--yes")
    assert status == 1
    assert "is locked" in errors
    assert host("element", "list")[1] == f"{FULL}\n{INC}\n"


def test_what_is_deleted_is_told_as_json(host, source):
    _, output, _ = host("element", "delete", FULL, INC, "--yes", "--json")
    assert json.loads(output) == [{"deleted": INC}, {"deleted": FULL}]


@pytest.mark.parametrize("name", ["--all", "/host/tree"])
def test_a_newest_element_that_the_generator_remembers_and_is_gone_is_a_violation(host, source, name):
    host.remember(source.elements[1])
    assert host("element", "verify", name)[0] == 0
    source.elements[1].delete()
    status, output, _ = host("element", "verify", name)
    assert status == 4
    assert f"violation: /host/tree: {INC}, the last element that was stored of /host/tree" in output
    assert host("element", "verify", FULL)[0] == 0


def test_a_source_of_which_all_is_gone_that_the_generator_remembers_is_a_violation(host, source):
    host.remember(source.elements[1])
    host.source(source="/host/other").back_up("full")
    for element in source.elements:
        element.delete()
    for name in ("--all", "/host/tree"):
        status, output, _ = host("element", "verify", name)
        assert status == 4
        assert f"violation: /host/tree: {INC}, the last element" in output
        assert "nor is any other of the source" in output
    status, _, errors = host("restore", "/host/tree", "--list")
    assert (status, f"{INC}, the last element that was stored" in errors) == (1, True)
    for names in ((), ("/host/tree",), ("/host",)):
        status, output, errors = host("element", "latest", *names)
        assert (status, f"warning: {INC}, the last element" in errors) == (4, True)
    config = host.path / "etc" / "config"
    config.write_text(config.read_text() + "GeneralElementsMoveOn = True\n")
    assert host("element", "latest")[::2] == (0, "")
    assert host("element", "verify", "--all")[0] == 0
    status, output, _ = host("element", "verify", "/host/tree")
    assert (status, f"warning: /host/tree: {INC}, the last element" in output) == (0, True)


def test_what_was_deleted_on_purpose_is_warned_of_and_its_hole_too(host, source):
    host.remember(source.elements[1])
    assert host("element", "delete", INC, "--yes")[0] == 0
    status, output, _ = host("element", "verify", "--all")
    assert (status, f"warning: /host/tree: {INC}, the last element" in output) == (0, True)
    assert host("restore", "/host/tree", "--to", host.path / "out", "--accept-unverified")[0] != 4
    assert host("element", "latest")[0] == 0
    source.back_up("full")
    shutil.rmtree(host.path / "state" / "generators")
    status, output, _ = host("element", "verify", "--all")
    assert (status, "hole in the history, made with element delete" in output) == (0, True)
    (host.path / "state" / "elements.deleted").write_text("{")
    assert host("element", "verify", "--all")[0] == 4


def test_where_elements_move_on_and_in_other_storages_none_is_missed(host, source, tmp_path):
    host.remember(source.elements[1])
    source.elements[1].delete()
    shutil.copytree(host.path / "data", tmp_path / "copy")
    assert host("element", "verify", "--all", "--storage", tmp_path / "copy")[0] == 0
    config = host.path / "etc" / "config"
    config.write_text(config.read_text() + "GeneralElementsMoveOn = True\n")
    assert host("element", "verify", "--all")[0] == 0


def test_where_elements_move_on_the_next_incremental_and_an_empty_storage_are_no_violation(host, source):
    later = source.back_up("inc")
    for element in source.elements[:2]:
        element.delete()
    config = host.path / "etc" / "config"
    text = config.read_text()
    assert host("element", "verify", "--all")[0] == 4
    config.write_text(text + "GeneralElementsMoveOn = True\n")
    status, output, _ = host("element", "verify", "--all")
    assert (status, "elements move on from here" in output) == (0, True)
    shutil.copytree(host.path / "data", host.path / "copy")
    assert host("element", "verify", "--all", "--storage", host.path / "copy")[0] == 4
    later.delete()
    status, output, _ = host("element", "verify", "--all")
    assert (status, "elements move on from this storage" in output) == (0, True)
    (host.path / "data" / "passwd").write_text("")
    assert host("element", "verify", "--all")[0] == 1
    shutil.rmtree(host.path / "data")
    assert host("element", "verify", "--all")[0] == 1


def test_a_hole_in_the_history_ends_verify_with_4_and_with_0_where_elements_move_on(host, source):
    hole = source.back_up("inc")
    source.back_up("full")
    hole.delete()
    status, output, _ = host("element", "verify", "--all")
    assert (status, output.count("hole in the history")) == (4, 1)
    config = host.path / "etc" / "config"
    config.write_text(config.read_text() + "TransferReceiverSettings = {'BackupType': 'full'}\n")
    status, output, _ = host("element", "verify", "--all")
    assert (status, output.count("hole in the history")) == (0, 1)
