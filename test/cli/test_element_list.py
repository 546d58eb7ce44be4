"""The commands `element list|latest`: what is selected, and how it is shown."""

import base64
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from cli_host import configured_host
from sample_source import gpg_home

from guerillabackup.config import load_configuration
from guerillabackup.signature import Keyring, sign_metainfo

FULL, INC = "/host/20231114221320-tree-full", "/host/20231114231320-tree-inc"


@pytest.fixture
def host(tmp_path, capfd):
    """A host whose storage has a catalogue, and in it a source with a full and an incremental."""
    with configured_host(tmp_path, capfd) as host:
        (tmp_path / "state").mkdir()
        with (tmp_path / "etc" / "config").open("a") as config:
            config.write(f"GeneralPersistencyBaseDir = {str(tmp_path / 'state')!r}\n")
        source = host.source()
        host.elements = [source.back_up("full"), source.back_up("inc")]
        yield host


@pytest.fixture(scope="module")
def signer():
    """The `sign` of a sample source, and the keyring it signs with."""
    with gpg_home(("signing", "sign")) as home, Keyring(home) as keyring:
        yield lambda metainfo, source: sign_metainfo(keyring, "signing", metainfo, source), home


def index_files(host):
    return sorted(path.name for path in (host.path / "state").rglob("*.sqlite"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--type", "full"), [FULL]),
        (("--type", "inc"), [INC]),
        (("--since", "@1700003600"), [INC]),
        (("--since", "2023-11-14 22:14Z"), [INC]),
        (("--until", "2023-11-14 22:14Z"), [FULL]),
        (("--since", "2023-11-14 22:13Z", "--until", "20231114221320"), [FULL]),
        (("--until", "2023-11-14 23:13:20Z"), [FULL, INC]),
        (("--until", "2023-11-14 23:13Z"), [FULL]),
        (("/host", "--type", "inc", "--members"), [INC]),
    ],
)
def test_elements_are_selected_by_type_and_time(host, arguments, expected):
    for _ in range(2):
        assert host("element", "list", *arguments)[:2] == (0, "".join(f"{each}\n" for each in expected))


@pytest.mark.parametrize("options", [(), ("--long",), ("--json",)])
def test_elements_of_one_second_are_in_the_order_of_their_chain(host, options):
    source = host.source(source="/host/quick")
    made = [source.store(kind, b"line", timestamp=1_700_000_000) for kind in ("full", "inc", "full", "inc")]
    output = host("element", "list", "/host/quick", *options)[1]
    ids = [str(element.get_element_id()) for element in made]
    assert re.findall(r"/host/\d+-quick-\w+", output) == ids


def test_elements_are_selected_by_their_data_uuid_in_either_form(host):
    uuid = host.elements[1].get_metadata().data_uuid
    for text in (uuid.hex(), base64.b64encode(uuid).decode()):
        assert host("element", "list", "--uuid", text)[:2] == (0, f"{INC}\n")
    assert host("element", "list", "--uuid", "no:uuid")[0] == 2


def test_nothing_that_meets_the_conditions_ends_with_1_and_a_message(host):
    status, output, errors = host("element", "list", "--since", "2024-01-01")
    assert (status, output) == (1, "")
    assert "no element meets all of what was asked for" in errors


@pytest.mark.parametrize(("option", "day"), [("--since", "beginning"), ("--until", "end")])
def test_a_time_that_is_none_is_wrong_usage_and_the_forms_are_told(host, option, day):
    status, _, errors = host("element", "list", option, "yesterday")
    assert status == 2
    assert f"YYYY-MM-DD (the {day} of that day)" in " ".join(errors.split())


def test_an_empty_storage_is_an_empty_list(tmp_path, capfd):
    with configured_host(tmp_path, capfd) as host:
        assert host("element", "list") == (0, "", "")
        assert json.loads(host("element", "list", "--json")[1]) == []
        assert json.loads(host("element", "latest", "--json")[1]) == []


@pytest.mark.parametrize("command", ["list", "latest"])
def test_a_storage_that_is_empty_although_it_had_elements_ends_with_1(tmp_path, capfd, command):
    with configured_host(tmp_path, capfd) as host:
        state = tmp_path / "state"
        state.mkdir()
        with (tmp_path / "etc" / "config").open("a") as config:
            config.write(f"GeneralPersistencyBaseDir = {str(state)!r}\n")
        directory = load_configuration(str(tmp_path / "etc"))["DefaultFileSystemSinkBaseDir"]
        assert host("element", command) == (0, "", "")
        (state / "storage.filled").write_text(json.dumps([directory]))
        status, output, errors = host("element", command)
        assert (status, output) == (1, "")
        assert "is empty, although there were elements in it" in errors
        assert host("element", command, "--storage", directory) == (0, "", "")
        for others in (("restore", "/host/tree", "--list"), ("element", "verify", "--all")):
            status, _, errors = host(*others)
            assert (status, "although there were elements in it: is it mounted" in errors) == (1, True)


@pytest.mark.parametrize("command", ["list", "latest"])
def test_a_directory_that_is_no_storage_ends_with_1_and_the_question(host, tmp_path, command):
    (tmp_path / "other" / "a").mkdir(parents=True)
    arguments = ("element", command, "--storage", tmp_path / "other")
    assert host(*arguments) == (0, "", "")
    status, _, errors = host(*arguments, "/host/tree")
    assert (status, "other has no elements at all: is it mounted, and is it the right" in errors) == (1, True)
    (tmp_path / "other" / "a" / "passwd").write_text("")
    status, output, errors = host(*arguments, "--json")
    assert (status, json.loads(output)["exit_status"]) == (1, 1)
    assert "but other files, 'a/passwd' first: is it the right directory" in errors
    status, _, errors = host("element", command, "--storage", tmp_path / "nothing")
    assert (status, "nothing is not there or no directory: is it mounted" in errors) == (1, True)


def test_the_newest_element_of_each_source_is_shown_with_its_age(host):
    host.source(source="/other/log").store("full", b"line")
    _, output, _ = host("element", "latest")
    first, second = output.splitlines()
    assert first.split()[:2] == ["2023-11-14", "23:13:20Z"]
    assert first.endswith(INC)
    assert " d " in first
    assert second.endswith("-log-full")
    _, output, _ = host("element", "latest", "/host/tree", "--json")
    (record,) = json.loads(output)
    assert (record["id"], record["source"], record["type"]) == (INC, "/host/tree", "inc")
    assert record["age"] > 86400


def test_an_older_chain_that_arrived_last_is_shown_as_newest_in_doubt_with_status_4(host):
    host.source().store("full", b"another chain", timestamp=1_600_000_000)
    status, output, errors = host("element", "latest")
    assert (status, "20200913122640-tree-full" in output) == (4, True)
    assert f"20200913122640-tree-full arrived last, but by its own timestamp {INC} is later" in errors
    status, output, _ = host("element", "latest", "--json")
    assert (status, [each["in_doubt"] for each in json.loads(output)]) == (4, [True])
    host.source(source="/other/log").store("full", b"line")
    assert host("element", "latest", "/other")[0] == 0


def test_in_a_copy_with_a_gap_the_latest_signed_element_is_shown(tmp_path, capfd, signer):
    sign, home = signer
    with configured_host(tmp_path, capfd) as host:
        source = host.source(sign=sign)
        elements = [source.back_up(kind) for kind in ("full", "inc", "inc", "full", "inc")]
        copy = tmp_path / "copy"
        for number in (3, 4, 0, 1):  # not 2, the last before the second full
            for path in host.data_path(elements[number]).parent.glob(
                f"{elements[number].get_element_id().file_stem}.*"
            ):
                (copy / "host").mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy / "host")
            time.sleep(0.02)  # the clock of ctime is coarse
        arguments = ("element", "latest", "--storage", copy)
        status, output, errors = host(*arguments)
        assert (status, str(elements[1].get_element_id()) in output) == (4, True)
        assert "--private-keyring" in errors
        status, output, errors = host(*arguments, "--private-keyring", home)
        assert (status, str(elements[4].get_element_id()) in output) == (0, True)
        assert "as is signed" in errors
        status, output, errors = host(*arguments, "--private-keyring", tmp_path / "nowhere")
        assert (status, errors.count("no signature can be checked")) == (4, 1)


def test_a_newest_element_that_the_generator_remembers_and_is_gone_puts_the_latest_in_doubt(host):
    host.remember(host.elements[1])
    assert (host("element", "latest")[0], host("element", "latest")[2]) == (0, "")
    host.elements[1].delete()
    status, output, errors = host("element", "latest", "--json")
    assert status == 4
    assert [(each["id"], each["in_doubt"]) for each in json.loads(output)] == [(FULL, True)]
    assert f"warning: {INC}, the last element that was stored of /host/tree" in errors
    shutil.copytree(host.path / "data", host.path / "copy")
    assert host("element", "latest", "--storage", host.path / "copy")[0] == 0
    with (host.path / "etc" / "config").open("a") as config:
        config.write("GeneralElementsMoveOn = True\n")
    status, _, errors = host("element", "latest")
    assert (status, "it was moved on, or was deleted" in errors) == (0, True)


@pytest.mark.parametrize("storage", [(), ("--storage", "data")])
@pytest.mark.parametrize("damage", ["list", "info", "empty", "older"])
def test_latest_ends_with_4_where_restore_refuses_for_what_is_gone_of_a_newer_one(host, storage, damage):
    newest, full = host.elements[1], host.elements[0]
    if damage == "list":
        lists = host.source(source="/host/tree.members")
        for element in host.elements:
            uuid = base64.b64encode(element.get_metadata().data_uuid).decode()
            lists.store("full", b"list", MembersOf=uuid, timestamp=element.get_metadata().timestamp)
        assert host("element", "latest")[::2] == (0, "")
        newest.delete()
    elif damage == "info":
        host.data_path(newest).unlink()
    elif damage == "empty":
        host.data_path(newest).write_bytes(b"")
    else:
        host.data_path(full).unlink()
    arguments = [str(host.path / each) if each == "data" else each for each in storage]
    status, _, errors = host("element", "latest", *arguments)
    expected = (0, False) if damage == "older" else (4, True)
    assert (status, newest.get_element_id().digits in errors) == expected
    if damage != "older":
        assert host("restore", "/host/tree", "--to", host.path / "out", *arguments)[0] == 4


def test_a_source_that_is_not_there_ends_latest_with_1_after_the_others(host):
    status, output, errors = host("element", "latest", "/host", "/nowhere", "/host/tree")
    assert status == 1
    assert output.count("\n") == 1
    assert "/nowhere" in errors


def test_the_storage_of_the_host_has_a_catalogue_and_others_have_none(host, tmp_path):
    host("element", "list")
    assert len(index_files(host)) == 1
    (tmp_path / "other").mkdir()
    assert host("element", "list", "--storage", tmp_path / "other") == (0, "", "")
    assert len(index_files(host)) == 1
    assert Path(host.path / "state" / "catalogue").stat().st_mode & 0o777 == 0o700


def test_a_list_is_the_same_with_the_catalogue_without_and_with_a_useless_one(host):
    listings = [host("element", "list", "--long", "--members") for _ in range(2)]
    os.rename(host.path / "state", host.path / "gone")
    listings.append(host("element", "list", "--long", "--members"))
    (host.path / "state").mkdir()
    (host.path / "state" / "catalogue").write_text("in the way")
    listings.append(host("element", "list", "--long", "--members"))
    assert len(set(listings)) == 1
    assert listings[0][2] == ""


def test_a_name_for_newest_by_chain_is_not_misled_by_times(host):
    element = host.elements[0]
    os.utime(host.data_path(element).with_suffix(".info"))  # its ctime is now the later one
    assert host("element", "latest")[1].strip().endswith(INC)


def test_commands_in_messages_name_the_storage_and_the_configuration_that_were_named(host):
    copy = host.path / "a copy"
    shutil.copytree(host.path / "data", copy)
    path = copy / f"{INC[1:]}.data"
    path.write_bytes(path.read_bytes()[:-1])
    status, _, errors = host("restore", "/host/tree", "--to", host.path / "out", "--storage", copy)
    assert (status, "element verify /host/tree" in errors) == (4, True)
    assert f"--storage '{copy}' --config-dir" in errors
    status, _, errors = host("element", "list", "/nowhere", "--storage", copy)
    assert (status, f"guerillabackup element list --storage '{copy}'" in errors) == (1, True)
