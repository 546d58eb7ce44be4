"""Whole restores of real archives: what comes out is what went in, or an error says why not."""

import base64
import os
import random
import shutil
import stat
import subprocess
import tarfile

import pytest
from failing_tar import failing_tar
from hand_made import make_incremental
from sample_source import SampleSource, gpg_home
from trees import ChangingTree, describe_tree, leaves_of_deep, make_deep, make_nasty_tree

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import (
    ConfigError,
    ElementExistsError,
    ElementNotFoundError,
    IntegrityError,
    KeyUnusableError,
    StorageError,
    StorageFullError,
)
from guerillabackup.restore.interface import ListedMember
from guerillabackup.restore.member_patterns import MemberPatterns
from guerillabackup.restore.service import RestoreRequest
from guerillabackup.restore.staging import STAGING_PREFIX
from guerillabackup.signature import KeyPurpose, Keyring

DEPTH = 1500
FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def chain(house):
    """A source with a full and two incrementals; `states` are the trees at each."""
    source = house.source()
    tree = source.tree
    (tree / "etc").mkdir()
    (tree / "etc" / "passwd").write_text("root")
    (tree / "etc" / "hosts").write_text("localhost")
    (tree / "old").write_text("old")
    source.states = []
    source.elements = [source.back_up("full")]
    source.states.append(describe_tree(tree))
    (tree / "etc" / "passwd").write_text("root user")
    (tree / "old").unlink()
    source.elements.append(source.back_up("inc"))
    source.states.append(describe_tree(tree))
    (tree / "etc").rename(tree / "config")
    (tree / "new").mkdir()
    source.elements.append(source.back_up("inc"))
    source.states.append(describe_tree(tree))
    return source


def damage(element, house, *, at=-1, to=b"\0"):
    """Change one byte of the data file as a disk might."""
    path = house.path / "data" / f"{str(element.get_element_id())[1:]}.data"
    data = bytearray(path.read_bytes())
    data[at] = to[0] if data[at] != to[0] else to[0] ^ 0xFF
    path.write_bytes(data)


def test_a_tree_with_every_kind_of_member_is_restored_exactly(house, private_home, signer, signing_home):
    source = house.source(recipient=(private_home, "backup"), sign=signer("signing"))
    shutil.rmtree(source.tree)
    make_nasty_tree(source.tree)
    source.back_up("full")
    (source.tree / "plain").write_text("changed\n")
    source.back_up("inc")
    os.symlink(signing_home, house.path / "etc" / "keys")
    house.configure("GeneralRequireSignatures = True\n")
    report = house.restore(private_keyring=private_home)
    assert report.warnings == report.problems == ()
    assert describe_tree(house.path / "out") == describe_tree(source.tree)


def test_of_separate_chains_in_a_copy_the_one_of_the_later_signed_time_is_restored(
    house, signer, signing_home
):
    source = house.source(sign=signer("signing"))
    first = source.now
    source.now += 86400
    source.store("full", b"second chain")
    source.now, source.last_uuid = first, None
    source.store("full", b"first chain")  # arrives last, as in a copy of another order
    for accept_unverified in (False, True):
        with pytest.raises(IntegrityError, match="2 separate chains"):
            house.restore(accept_unverified=accept_unverified)
    os.symlink(signing_home, house.path / "etc" / "keys")
    report = house.restore()
    assert (house.path / "out" / "tree").read_bytes() == b"second chain"
    assert ["2 separate chains" in text for text in report.warnings] == [True]
    source.sign = None
    source.now, source.last_uuid = first + 3600, None
    source.store("full", b"not signed")
    with pytest.raises(IntegrityError, match="not all are signed by a key that is known here"):
        house.restore("refused")


def test_every_state_of_a_chain_can_be_restored_by_time_and_by_element(house, chain):
    for number, (element, state) in enumerate(zip(chain.elements, chain.states, strict=True)):
        time = element.get_metadata().timestamp
        house.restore(f"time{number}", at=time + 1800)
        house.restore(f"element{number}", element_id=element.get_element_id())
        assert describe_tree(house.path / f"time{number}") == state
        assert describe_tree(house.path / f"element{number}") == state


def test_elements_of_the_original_are_restored(house, private_home):
    source = house.source(recipient=(private_home, "backup"), compression="bzip2", tar_format="gnu")
    (source.tree / "a").mkdir()
    (source.tree / "a" / "file").write_text("1")
    source.back_up("full")
    (source.tree / "a" / "file").unlink()
    (source.tree / "b").write_text("2")
    source.back_up("inc")
    house.restore(private_keyring=private_home)
    assert describe_tree(house.path / "out") == describe_tree(source.tree)


@pytest.mark.parametrize("compression", ["gzip", None])
def test_any_packing_is_found_out(house, compression):
    source = house.source(compression=compression)
    (source.tree / "file").write_text("content")
    source.back_up("full")
    house.restore()
    assert (house.path / "out" / "file").read_text() == "content"


def test_content_that_is_no_archive_becomes_a_file_named_by_the_source(house):
    source = house.source(source="/host/var/log/syslog")
    source.store("full", b"first line\n")
    source.store("full", b"second line\n")
    report = house.restore(source="/host/var/log/syslog")
    assert not report.is_archive
    assert report.written_to == str(house.path / "out" / "syslog")
    assert (house.path / "out" / "syslog").read_bytes() == b"second line\n"


@pytest.mark.parametrize("kinds", [["full"], ["full", "inc"]])
def test_an_archive_without_members_is_restored_as_nothing(house, kinds):
    source = house.source()
    for kind in kinds:
        source.store(kind, bytes(10240))
    assert house.restore().is_archive
    assert os.listdir(house.path / "out") == []
    with house.service() as service:
        assert list(service.list_members(service.find_chain(source.source_url))) == []


def test_an_empty_element_becomes_an_empty_file(house):
    house.source().store("full", b"", pack=False)
    house.restore()
    assert (house.path / "out" / "tree").read_bytes() == b""


@pytest.mark.parametrize("seed", range(10))
def test_random_changes_are_restored_exactly(house, seed):
    randomness = random.Random(seed)
    source = house.source(tar_format=randomness.choice(["posix", "gnu"]), compression=None)
    changing = ChangingTree(source.tree, randomness)
    changing.change(20)
    source.back_up("full")
    for _ in range(3):
        changing.change(randomness.randrange(12))
        source.back_up("inc")
    report = house.restore()
    assert report.problems == ()
    assert describe_tree(house.path / "out", links=False) == describe_tree(source.tree, links=False)


@pytest.mark.parametrize("seed", range(10))
def test_random_choices_of_members_are_what_a_whole_restore_has_of_them(house, seed):
    randomness = random.Random(seed)
    source = house.source(compression=None, records_moves=seed % 2 == 0)
    changing = ChangingTree(source.tree, randomness)
    changing.change(25)
    source.back_up("full")
    for _ in range(2):
        changing.change(8)
        directories = changing.paths(True)
        if directories and source.records_moves:
            directories[0].rename(source.tree / f"moved{randomness.random()}")
        source.back_up("inc")
    house.restore("whole")
    whole = describe_tree(house.path / "whole", links=False)
    names = [name for name in whole if name != b"."]
    patterns = [randomness.choice(["*/a", "**/b", "c", "moved*"])]
    patterns += [os.fsdecode(randomness.choice(names)) for _ in range(2) if names]
    patterns = [text for text in patterns if any(MemberPatterns([text]).match(name) for name in names)]
    if not patterns:
        return
    house.restore("some", includes=tuple(patterns))
    match = MemberPatterns(patterns).match
    wanted = {name for name in names if match(name)}
    needed = {parent for name in wanted for parent in _parents(name)}
    some = describe_tree(house.path / "some", links=False)
    assert some == {name: whole[name] for name in wanted | needed | {b"."}}


def _parents(name):
    while b"/" in name:
        name = name.rpartition(b"/")[0]
        yield name


def test_a_renamed_directory_of_the_original_is_restored_with_what_is_unchanged_in_it(house):
    source = house.source(records_moves=True)
    (source.tree / "before" / "inner").mkdir(parents=True)
    (source.tree / "before" / "inner" / "same").write_text("same")
    source.back_up("full")
    (source.tree / "before").rename(source.tree / "after")
    source.back_up("inc")
    report = house.restore()
    assert report.problems == ()
    assert describe_tree(house.path / "out") == describe_tree(source.tree)
    house.restore("some", includes=("after/inner/same",))
    assert (house.path / "some" / "after" / "inner" / "same").read_text() == "same"


def test_a_choice_takes_what_a_hard_link_refers_to(house):
    source = house.source()
    (source.tree / "a").write_text("shared")
    (source.tree / "z").mkdir()
    os.link(source.tree / "a", source.tree / "z" / "link")
    source.back_up("full")
    house.restore(includes=("z/link",))
    assert sorted(path.name for path in (house.path / "out").rglob("*")) == ["link", "z"]
    assert (house.path / "out" / "z" / "link").read_text() == "shared"
    assert (house.path / "out" / "z").stat().st_mtime_ns == (source.tree / "z").stat().st_mtime_ns


def test_a_choice_of_nothing_is_refused_before_anything_is_written(house, chain):
    with pytest.raises(ElementNotFoundError, match="'nowhere'"):
        house.restore(includes=("etc", "nowhere"))
    assert not (house.path / "out").exists()


@pytest.fixture
def deep(house):
    """A source with a tree that no path reaches the end of, `d/d/…/leaf`; and a file `z`."""
    source = house.source()
    (source.tree / "z").write_text("z")
    make_deep(source.tree, DEPTH)
    source.back_up("full")
    source.back_up("inc")
    yield source
    for name in ("tree", "out"):
        subprocess.run(["rm", "-rf", str(house.path / name)], check=True)


@pytest.mark.exhaustive
def test_a_tree_deeper_than_calls_can_nest_is_chosen_from(house, deep):
    house.restore(includes=("z",))
    assert [path.name for path in (house.path / "out").iterdir()] == ["z"]


@pytest.mark.exhaustive
def test_a_tree_deeper_than_calls_can_nest_is_merged(house, deep):
    (house.path / "out").mkdir()
    make_deep(house.path / "out", DEPTH, leaf="mine")
    report = house.restore(into_existing=True)
    assert report.problems == ()
    assert leaves_of_deep(house.path / "out") == (DEPTH, ["leaf", "mine"])
    assert sorted(path.name for path in (house.path / "out").iterdir()) == ["d", "z"]


def test_an_unknown_source_is_not_found_and_close_names_are_told(house, chain):
    with pytest.raises(ElementNotFoundError, match="did you mean /host/tree"):
        house.restore(source="/host/treee")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_wrong_byte_anywhere_in_the_chain_prevents_the_restore(house, chain, number):
    damage(chain.elements[number], house, at=30)
    with pytest.raises(IntegrityError, match=str(chain.elements[number].get_element_id())):
        house.restore()
    assert not (house.path / "out").exists()


def test_a_missing_element_prevents_the_restore(house, chain):
    chain.elements[1].delete()
    with pytest.raises(IntegrityError, match="not here"):
        house.restore()


def metadata_path(element, house):
    return house.path / "data" / f"{str(element.get_element_id())[1:]}.info"


def test_an_element_whose_metadata_is_damaged_is_a_warning_where_it_is_not_needed(house, chain):
    metadata_path(chain.elements[2], house).write_text("{")
    damaged = chain.elements[2].get_element_id()
    report = house.restore(at=chain.elements[1].get_metadata().timestamp)
    assert any(str(damaged) in text and "left out" in text for text in report.warnings)
    assert describe_tree(house.path / "out") == chain.states[1]
    with pytest.raises(IntegrityError, match=str(damaged)):
        house.restore("named", element_id=damaged)


@pytest.mark.parametrize("number", [0, 1])
def test_an_element_whose_metadata_is_damaged_is_named_where_it_is_needed(house, chain, number):
    metadata_path(chain.elements[number], house).write_text("{")
    with pytest.raises(IntegrityError, match=str(chain.elements[number].get_element_id())):
        house.restore()
    assert not (house.path / "out").exists()


@pytest.mark.parametrize("suffix", [".data", ".info"])
@pytest.mark.parametrize("kind", ["missing", "link", "fifo", "directory"])
def test_files_without_their_element_are_told_of_by_a_restore(house, chain, suffix, kind):
    path = metadata_path(chain.elements[2], house).with_suffix(suffix)
    path.rename(house.path / "moved")
    if kind == "link":
        path.symlink_to(house.path / "moved")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    older = chain.elements[1].get_element_id()
    if (kind, suffix) != ("missing", ".info"):
        with pytest.raises(IntegrityError, match=f"damaged.*--element {older}"):
            house.restore()
    report = house.restore(element_id=older)
    assert any(path.stem in text and "belongs to no element" in text for text in report.warnings)
    assert describe_tree(house.path / "out") == chain.states[1]


def test_metadata_without_a_name_is_no_more_than_told_of(house, chain):
    metadata_path(chain.elements[2], house).unlink()
    house.restore()
    assert describe_tree(house.path / "out") == chain.states[1]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, " " * (600 << 10)])
def test_damage_to_the_newest_element_prevents_the_restore_of_an_older_one(house, chain, text):
    older, newest = chain.elements[1:]
    time = newest.get_metadata().timestamp
    metadata_path(newest, house).write_text(text)
    for at in (None, time):
        with pytest.raises(IntegrityError, match=f"--element {older.get_element_id()}"):
            house.restore(at=at)
    assert not (house.path / "out").exists()
    house.restore("by_time", at=older.get_metadata().timestamp)
    house.restore("by_element", element_id=older.get_element_id())
    assert (
        describe_tree(house.path / "by_time") == describe_tree(house.path / "by_element") == chain.states[1]
    )


def test_damage_to_an_element_before_the_last_full_prevents_nothing(house, chain):
    metadata_path(chain.elements[1], house).write_text("{")
    chain.back_up("full")
    house.restore()
    assert describe_tree(house.path / "out") == chain.states[2]


def test_a_list_of_members_newer_than_all_elements_prevents_the_restore_of_an_older_one(house, chain):
    uuid = base64.b64encode(chain.last_uuid).decode("ascii")
    older, last = chain.elements[1:]
    lists = SampleSource(house.storage, house.path, source="/host/tree.members")
    stored = lists.store("full", b"names", timestamp=last.get_metadata().timestamp, MembersOf=uuid)
    time = last.get_metadata().timestamp

    def told(target, **request):
        return [text for text in house.restore(target, **request).warnings if "not in this storage" in text]

    assert told("whole") == []
    last.delete()
    named = f"{stored.get_element_id()} lists.*--element {older.get_element_id()}"
    with pytest.raises(IntegrityError, match=named):
        house.restore()
    assert not (house.path / "out").exists()
    assert told("older", at=time - 1) == []
    (warning,) = told("by time", at=time)
    assert str(stored.get_element_id()) in warning
    assert told("named", element_id=older.get_element_id()) == []
    house.configure("GeneralElementsMoveOn = True\n")
    assert told("moved") == [warning]


def test_a_missing_private_keyring_is_a_key_error_before_anything_is_written(house, private_home):
    source = house.source(recipient=(private_home, "backup"))
    source.back_up("full")
    with pytest.raises(KeyUnusableError, match="--private-keyring"):
        house.restore()
    with pytest.raises(KeyUnusableError):
        house.restore(private_keyring=str(house.path / "nowhere"))
    assert not (house.path / "out").exists()


def test_a_private_keyring_without_the_key_is_a_key_error(house, private_home, signing_home):
    source = house.source(recipient=(private_home, "backup"))
    source.back_up("full")
    with pytest.raises(KeyUnusableError, match=r"no secret key .* it is the wrong keyring"):
        house.restore(private_keyring=signing_home, accept_unverified=True)
    (house.path / "empty").mkdir(mode=0o700)
    with pytest.raises(KeyUnusableError, match="empty is no keyring"):
        house.restore(private_keyring=str(house.path / "empty"), accept_unverified=True)
    (house.path / "empty" / "private-keys-v1.d").mkdir(mode=0o700)
    with pytest.raises(KeyUnusableError, match="holds no secret key at all"):
        house.restore(private_keyring=str(house.path / "empty"), accept_unverified=True)


def test_a_private_key_with_a_passphrase_needs_the_file_that_holds_it(house, tmp_path):
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for path in (right, wrong):
        path.write_text(f"{path.name} passphrase\n")
        path.chmod(0o600)
    with gpg_home() as home:
        with Keyring(home, passphrase_file=str(right)) as keyring:
            keyring.create_key("locked", KeyPurpose.ENCRYPT)
        source = house.source(recipient=(home, "locked"))
        source.back_up("full")
        for passphrase_file, advice in ((None, "name the file with it"), (str(wrong), "has not theirs")):
            with pytest.raises(KeyUnusableError, match=advice):
                house.restore(private_keyring=home, passphrase_file=passphrase_file)
            assert not (house.path / "out").exists()
        house.restore(private_keyring=home, passphrase_file=str(right))
    assert describe_tree(house.path / "out") == describe_tree(source.tree)


def test_unsigned_elements_prevent_the_restore_where_signatures_are_required(house, chain):
    house.configure("GeneralRequireSignatures = True\n")
    with pytest.raises(IntegrityError, match="not signed"):
        house.restore()
    report = house.restore(accept_unverified=True)
    assert any("not signed" in text for text in report.warnings)


def test_metadata_of_all_elements_is_judged_before_any_data_is_read(house, signer, signing_home):
    source = house.source(sign=signer("signing"))
    source.back_up("full")
    source.sign = None
    source.back_up("inc")
    os.symlink(signing_home, house.path / "etc" / "keys")
    house.configure("GeneralRequireSignatures = True\n")
    events = []
    with house.service(listen=events.append) as service, pytest.raises(IntegrityError, match="not signed"):
        service.restore(RestoreRequest(source.source_url, str(house.path / "out")))
    assert events == []


def test_an_element_signed_by_a_key_that_may_not_prevents_the_restore(house, signer, signing_home):
    source = house.source(sign=signer("stranger"))
    (source.tree / "file").write_text("x")
    source.back_up("full")
    os.symlink(signing_home, house.path / "etc" / "keys")
    house.configure("GeneralTrustedSigningKeys = {'/host/.*': ['" + "A" * 40 + "']}\n")
    with pytest.raises(IntegrityError, match="is not by a key that GeneralTrustedSigningKeys trusts"):
        house.restore(accept_unverified=True)


def test_an_element_of_another_source_prevents_the_restore(house, signer, signing_home):
    source = house.source(sign=lambda metainfo, url: signer("signing")(metainfo, SourceUrl("/other/tree")))
    source.back_up("full")
    os.symlink(signing_home, house.path / "etc" / "keys")
    with pytest.raises(IntegrityError, match="/other/tree"):
        house.restore()


@pytest.mark.parametrize("is_named", [True, False])
def test_elements_whose_files_were_swapped_prevent_the_restore(house, is_named):
    source = house.source()
    elements = []
    for day in range(2):
        (source.tree / "file").write_text(f"day {day}")
        elements.append(
            source.store("full", b"any", SourceUrl="/host/tree", timestamp=1_700_000_000 + day * 86400)
        )
    first, second = (element.get_element_id() for element in elements)
    for suffix in ("data", "info"):
        paths = [house.path / "data" / f"{str(each)[1:]}.{suffix}" for each in (first, second)]
        paths[0].rename(house.path / "aside")
        paths[1].rename(paths[0])
        (house.path / "aside").rename(paths[1])
    with pytest.raises(IntegrityError, match="were they renamed"):
        house.restore(element_id=first if is_named else None)


def test_a_directory_that_is_not_empty_is_refused_and_unchanged(house, chain):
    (house.path / "out").mkdir()
    (house.path / "out" / "mine").write_text("mine")
    with pytest.raises(ElementExistsError, match="not empty"):
        house.restore()
    assert [path.name for path in (house.path / "out").iterdir()] == ["mine"]


def test_merging_replaces_files_and_leaves_everything_else(house, chain):
    target = house.path / "out"
    (target / "config").mkdir(parents=True)
    (target / "config" / "mine").write_text("mine")
    (target / "config" / "passwd").write_text("other")
    (target / "old").write_text("deleted in the source, but this one is mine")
    house.restore(into_existing=True)
    assert (target / "config" / "mine").read_text() == "mine"
    assert (target / "old").exists()
    assert (target / "config" / "passwd").read_text() == "root user"
    assert (target / "new").is_dir()
    assert not list(target.glob(f"{STAGING_PREFIX}*"))
    wanted = (chain.tree / "config").stat()
    assert (target / "config").stat().st_mtime_ns == wanted.st_mtime_ns


def test_merging_a_file_over_a_directory_is_refused_before_anything_is_changed(house, chain):
    target = house.path / "out"
    (target / "config" / "passwd").mkdir(parents=True)
    with pytest.raises(StorageError, match="'config/passwd'"):
        house.restore(into_existing=True)
    assert [path.name for path in target.rglob("*")] == ["config", "passwd"]


@pytest.mark.parametrize(
    "line", ["./old: Wrote only 512 of 10240 bytes", "./old: Cannot write: No space left on device"]
)
def test_a_full_disk_leaves_the_files_of_an_existing_target_as_they_are(house, chain, monkeypatch, line):
    failing_tar(house.path, monkeypatch, line)
    (house.path / "out").mkdir()
    (house.path / "out" / "new").write_text("good")
    with pytest.raises(StorageFullError, match="old"):
        house.restore(into_existing=True)
    assert [path.name for path in (house.path / "out").iterdir()] == ["new"]


@pytest.mark.parametrize(
    ("line", "is_merged"),
    [
        ("./old: Cannot write: Input/output error", False),
        ("./device: Cannot mknod: Operation not permitted", True),
    ],
)
def test_only_what_leaves_files_whole_does_not_prevent_the_merge(house, chain, monkeypatch, line, is_merged):
    failing_tar(house.path, monkeypatch, line)
    (house.path / "out").mkdir()
    (house.path / "out" / "mine").write_text("mine")
    report = house.restore(into_existing=True, element_id=chain.elements[0].get_element_id())
    assert (report.is_merged, len(report.problems)) == (is_merged, 1)
    left = {path.name for path in (house.path / "out").iterdir()}
    assert left == ({"mine", "etc", "old"} if is_merged else {"mine"})


def test_an_interrupted_restore_is_told_of_by_the_next(house, chain):
    left = house.path / "out" / f"{STAGING_PREFIX}abc"
    left.mkdir(parents=True)
    with pytest.raises(ElementExistsError, match=STAGING_PREFIX):
        house.restore()
    report = house.restore(into_existing=True)
    assert any(str(left) in text for text in report.warnings)


def test_sockets_are_told_of(house):
    source = house.source()
    os.mknod(source.tree / "socket", stat.S_IFSOCK | 0o600)
    source.back_up("full")
    source.back_up("inc")
    report = house.restore()
    assert report.problems == ()
    assert any("'socket'" in text for text in report.remarks)


def test_members_that_were_archived_and_are_lost_are_a_problem(house):
    source = house.source()
    (source.tree / "a").write_text("a")
    source.back_up("full")
    source.store("inc", make_incremental({b"./": b"\0"}))
    source.store("inc", make_incremental({b"./": b"Na\0Nnever\0\0"}))
    report = house.restore()
    assert len(report.problems) == 1
    assert "'a'" in report.problems[0]
    assert any("'never'" in text for text in report.remarks)


RACED = [
    ({b"./": b"Da\0Db\0\0"}, [("./a", LINK, "b")]),
    ({b"./": b"Ya\0Yb\0\0", b"./b/": b"Yx\0\0"}, [("./a", LINK, "b"), ("./b/x", FILE, b"raced")]),
    ({b"./": b"Na\0Db\0\0", b"./b/": b"Yx\0\0"}, [("./b/x", FILE, b"raced"), ("./a", LINK, "b")]),
    ({b"./": b"Yb\0Da\0\0", b"./a/": b"Yx\0\0"}, [("./a", FILE, b"f"), ("./a/x", FILE, b"raced")]),
]
BEFORE_RACE = ({b"./": b"Da\0Yb\0\0", b"./a/": b"Yx\0\0"}, [("./a/x", FILE, b"x"), ("./b", LINK, "a")])


@pytest.mark.parametrize("raced", RACED)
@pytest.mark.parametrize("is_written", [True, False])
def test_what_a_later_element_puts_right_after_a_race_is_no_problem(house, raced, is_written):
    source = house.source()
    source.store("full", make_incremental(*BEFORE_RACE))
    source.store("inc", make_incremental(*raced))
    if is_written:
        source.store("inc", make_incremental(*BEFORE_RACE))
    else:
        source.store("inc", make_incremental({b"./": b"\0"}))
    report = house.restore()
    assert report.problems == ()
    left = {str(path.relative_to(house.path / "out")) for path in (house.path / "out").rglob("*")}
    assert left == ({"a", "a/x", "b"} if is_written else set())
    assert not is_written or (house.path / "out" / "b").is_symlink()


@pytest.mark.parametrize("follower", [None, ({b"./": b"Na\0Db\0\0", b"./b/": b"Nx\0\0"}, [])])
def test_what_no_later_element_puts_right_is_a_problem(house, follower):
    source = house.source()
    source.store("full", make_incremental(*BEFORE_RACE))
    source.store("inc", make_incremental(*RACED[2]))
    if follower is not None:
        source.store("inc", make_incremental(*follower))
    (problem,) = house.restore().problems
    assert "./a: Cannot create symlink" in problem


def test_the_members_of_the_last_state_are_listed(house, chain):
    with house.service() as service:
        listed = {each.name: each for each in service.list_members(service.find_chain(chain.source_url))}
        assert sorted(listed) == [b".", b"config", b"config/hosts", b"config/passwd", b"new"]
        assert listed[b"config"].type == "directory"
        full = service.find_chain(chain.source_url, element_id=chain.elements[0].get_element_id())
        assert {each.name for each in service.list_members(full, ["etc"])} == {
            b"etc",
            b"etc/passwd",
            b"etc/hosts",
        }


def test_what_is_unchanged_is_listed_as_the_older_archives_have_it(house, chain):
    hosts = (chain.tree / "config" / "hosts").stat()
    for number, name in ((1, b"etc/hosts"), (2, b"config/hosts")):
        element_id = chain.elements[number].get_element_id()
        with house.service() as service:
            chain_ = service.find_chain(chain.source_url, element_id=element_id)
            listed = {each.name: each for each in service.list_members(chain_)}
        assert listed[name] == ListedMember(name, "file", hosts.st_size, int(hosts.st_mtime))
        assert listed[name.replace(b"hosts", b"passwd")].size == 9


def test_content_that_is_no_archive_has_no_members(house):
    source = house.source()
    source.store("full", b"text")
    with house.service() as service, pytest.raises(ConfigError):
        list(service.list_members(service.find_chain(source.source_url)))


@pytest.mark.parametrize("raw", [True, False])
def test_the_content_of_an_element_is_written_out(house, raw):
    source = house.source(compression="zstd")
    element = source.store("full", b"text" * 1000)
    with house.service() as service, open(house.path / "content", "wb") as stream:
        service.write_content(str(element.get_element_id()), stream.fileno(), raw=raw)
    with element.get_data_stream() as stream:
        expected = stream.read() if raw else b"text" * 1000
    assert (house.path / "content").read_bytes() == expected


@pytest.fixture
def victim(house):
    """A directory outside of every target, with a file that must stay as it is."""
    directory = house.path / "victim"
    directory.mkdir()
    (directory / "file").write_text("untouched")
    yield directory
    assert [path.name for path in directory.iterdir()] == ["file"]
    assert (directory / "file").read_text() == "untouched"
    assert not (house.path / "escaped").exists()


def restore_hostile(house, *archives, **request):
    source = house.source(compression=None)
    for number, archive in enumerate(archives):
        source.store("inc" if number else "full", archive)
    try:
        return house.restore(**request)
    except (IntegrityError, StorageError):
        return None


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "./../escaped"])
@pytest.mark.parametrize("is_incremental", [True, False])
def test_names_that_lead_up_do_not_leave_the_target(house, victim, name, is_incremental):
    hostile = make_incremental({b"./": b"\0"}, [(name, FILE, b"evil")])
    harmless = make_incremental({b"./": b"\0"})
    restore_hostile(house, *([harmless, hostile] if is_incremental else [hostile]))


def test_absolute_names_do_not_leave_the_target(house, victim):
    hostile = make_incremental({b"./": b"\0"}, [(str(victim / "file"), FILE, b"evil")])
    restore_hostile(house, hostile, hostile)


@pytest.mark.parametrize("link", ["absolute", "relative"])
def test_a_link_and_a_file_through_it_do_not_leave_the_target(house, victim, link):
    goal = str(victim) if link == "absolute" else "../victim"
    members = [("x", LINK, goal), ("x/file", FILE, b"evil")]
    restore_hostile(house, make_incremental({b"./": b"Yx\0\0"}, members))


@pytest.mark.parametrize(
    "second",
    [
        ({b"./": b"Yx\0\0"}, [("x/file", FILE, b"evil")]),
        ({b"./": b"Yx\0\0", b"./x/": b"\0"}, []),
        ({b"./": b"Nx\0\0", b"./x/y/": b"\0"}, []),
        ({b"./": b"Nx\0\0"}, [("q", LINK, "x"), ("q/file", FILE, b"evil")]),
        ({b"./": b"Nx\0Ryy\0Tx/escaped\0\0"}, []),
        ({b"./": b"Nx\0Rd\0Tx/d\0\0"}, []),
        ({b"./": b"Nx\0Rx/file\0Tstolen\0\0"}, []),
        ({b"./": b"Nx\0Rd\0T../escaped\0\0"}, []),
        ({b"./": b"Nx\0R../victim\0Tstolen\0\0"}, []),
        ({b"./": b"Nx\0R/\0Tstolen\0\0"}, []),
        ({b"./": b"Nx\0"}, [("y", HARD, "x/file"), ("y", FILE, b"evil")]),
        ({b"./": b"Dx\0\0", b"x/": b"\0"}, [("x/file", LINK, "q"), ("x/file/a", FILE, b"evil")]),
    ],
)
def test_a_link_of_an_earlier_element_does_not_lead_out_of_the_target(house, victim, second):
    goal = str(victim)
    first = make_incremental({b"./": b"Yx\0Dd\0\0", b"./d/": b"\0"}, [("x", LINK, goal)])
    restore_hostile(house, first, make_incremental(*second))


@pytest.mark.parametrize("way", ["new", "existing", "chosen"])
@pytest.mark.parametrize(
    "members",
    [
        [("b", HARD, "a"), ("b/new", FILE, b"evil")],
        [("b", HARD, "a"), ("b/file", FILE, b"evil")],
        [("b", HARD, "a"), ("b/new", tarfile.FIFOTYPE, "")],
        [("b", HARD, "a"), ("b/new", LINK, "x")],
        [("b", HARD, "a"), ("b/new", tarfile.DIRTYPE, "")],
        [("b", HARD, "a"), ("b", tarfile.DIRTYPE, ""), ("b/new", FILE, b"evil")],
        [("b", tarfile.DIRTYPE, ""), ("b", HARD, "a"), ("b/new", FILE, b"evil")],
        [("b/new", FILE, b"evil"), ("b", HARD, "a"), ("b/new", FILE, b"evil")],
        [("b", HARD, "a"), ("c", HARD, "b"), ("c/new", FILE, b"evil")],
        [("b", HARD, "a"), ("c", HARD, "b/file"), ("c", FILE, b"evil")],
        [("b", LINK, "a"), ("c", HARD, "b"), ("c/new", FILE, b"evil")],
        [(".//b/", HARD, "./a"), ("./b//new", FILE, b"evil")],
        [("b", HARD, "to_file"), ("b", FILE, b"evil")],
    ],
)
def test_a_hard_link_to_a_link_of_an_earlier_element_does_not_lead_out(house, victim, members, way):
    links = [("a", LINK, str(victim)), ("to_file", LINK, str(victim / "file"))]
    first = make_incremental({b"./": b"Ya\0Yto_file\0\0"}, links)
    second = make_incremental({b"./": b"Na\0Nto_file\0Yb\0Yc\0\0"}, members)
    request = {"new": {}, "existing": {"into_existing": True}, "chosen": {"includes": ("**",)}}[way]
    if way == "existing":
        (house.path / "out").mkdir()
        (house.path / "out" / "already").write_text("there")
    restore_hostile(house, first, second, **request)


def test_a_hard_link_to_a_link_that_became_a_directory_is_restored(house):
    source = house.source()
    os.symlink("/nowhere", source.tree / "a")
    source.back_up("full")
    os.link(source.tree / "a", source.tree / "b", follow_symlinks=False)
    source.back_up("inc")
    (source.tree / "b").unlink()
    (source.tree / "b").mkdir()
    (source.tree / "b" / "file").write_text("in a directory")
    source.back_up("inc")
    house.restore()
    assert describe_tree(house.path / "out") == describe_tree(source.tree)


def test_an_extended_attribute_that_was_removed_from_a_directory_is_not_restored(house):
    source = house.source()
    (source.tree / "d").mkdir()
    for name in ("user.gone", "user.a=b%3D", "user.kept"):
        os.setxattr(source.tree / "d", name, b"1")
    source.back_up("full")
    os.removexattr(source.tree / "d", "user.gone")
    source.back_up("inc")
    house.restore()
    assert sorted(os.listxattr(house.path / "out" / "d")) == ["user.a=b%3D", "user.kept"]


@pytest.mark.parametrize("kinds", [["full"], ["full", "inc"]])
@pytest.mark.parametrize("way", ["below", "existing"])
def test_directories_below_a_setgid_directory_have_their_own_modes(house, kinds, way):
    modes = {"a": 0o400, "b": 0o500, "c": 0o700, "d": 0o755, "e": 0o2700}
    source = house.source()
    (source.tree / "top").mkdir()
    (source.tree / "top").chmod(0o2775)
    for kind in kinds:
        if kind == kinds[-1]:
            for name, mode in modes.items():
                (source.tree / "top" / name).mkdir()
                (source.tree / "top" / name).chmod(mode)
        source.back_up(kind)
    target = house.path / "shared"
    target.mkdir()
    target.chmod(0o2775)
    if way == "existing":
        (target / "already").write_text("there")
        house.restore("shared", into_existing=True)
    else:
        house.restore("shared/out")
        target = target / "out"
    for name, mode in {"": 0o2775, **{f"/{name}": mode for name, mode in modes.items()}}.items():
        assert (target / f"top{name}").stat().st_mode & 0o7777 == mode, name


def test_a_chain_with_an_element_that_is_no_archive_is_refused(house):
    source = house.source()
    source.back_up("full")
    source.store("inc", b"no archive")
    source.back_up("inc")
    with pytest.raises(IntegrityError, match="not an archive"):
        house.restore()


def test_an_archive_that_is_cut_off_is_refused(house):
    source = house.source()
    (source.tree / "file").write_bytes(b"x" * 5000)
    source.back_up("full")
    archive = (house.path / "archive.tar").read_bytes()
    source.store("inc", archive[: len(archive) // 20480 * 10240 or 2048])
    with pytest.raises(IntegrityError):
        house.restore()


def test_a_full_that_is_cut_off_leaves_a_target_that_is_called_incomplete(house):
    source = house.source()
    (source.tree / "file").write_bytes(b"x" * 50_000)
    source.back_up("full")
    archive = (house.path / "archive.tar").read_bytes()
    source.store("full", archive[:20_480])
    with pytest.raises(IntegrityError, match="incomplete"):
        house.restore()


def test_an_element_id_that_is_not_of_the_source_is_not_found(house, chain):
    with pytest.raises(ElementNotFoundError):
        house.restore(element_id=ElementId.parse("/host/20200101000000-tree-full"))
