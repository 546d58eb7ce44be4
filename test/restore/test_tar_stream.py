"""What passes through of an archive, however it is cut."""

import io
import os
import shutil
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import archive, describe_tree, make_nasty_tree

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.directory_record import Rename, normal_name
from guerillabackup.restore.tar_member import MemberType
from guerillabackup.restore.tar_stream import TarStream


def run(data, is_wanted=lambda member: True, piece=1 << 20, **options):
    stream = TarStream(is_wanted, **options)
    output = b""
    for position in range(0, len(data), piece):
        output += b"".join(stream.feed(data[position : position + piece]))
    stream.end()
    return output


def members_of(data, **options):
    seen = []
    run(data, lambda member: seen.append(member) or False, **options)
    return seen


def extract(data, directory):
    directory.mkdir()
    argv = ["tar", "--extract", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-p"]
    argv += ["--delay-directory-restore", "--directory", str(directory)]
    subprocess.run(argv, input=data, check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stream") / "tree"
    make_nasty_tree(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module", params=["posix", "gnu"])
def nasty(request, tree, tmp_path_factory):
    output = tmp_path_factory.mktemp("archive") / "nasty.tar"
    index = tmp_path_factory.mktemp("index") / "index"
    return archive(tree, index, output, tar_format=request.param).read_bytes()


def test_the_names_are_those_that_tar_lists(nasty):
    argv = ["tar", "--list", "--quoting-style=literal", "--null"]
    listed = subprocess.run(argv, input=nasty, check=True, capture_output=True).stdout
    ours = b"".join(member.name + b"\n" for member in members_of(nasty))
    assert ours.replace(b"/\n", b"\n") == listed.replace(b"/\n", b"\n")


def test_types_sizes_and_link_targets_are_told(nasty):
    members = {normal_name(member.name): member for member in members_of(nasty)}
    assert members[b"sparse"].size == 9 << 20
    assert members[b"big"].size == 300_000
    assert members[b"absolute"].type is MemberType.SYMBOLIC_LINK
    assert members[b"absolute"].link_target == b"/proc/version"
    assert members[b"fifo"].type is MemberType.FIFO
    assert members[b"empty directory"].type is MemberType.DIRECTORY
    assert sorted(each.type.value for each in members.values()).count("hard link") == 1


def test_the_record_of_a_directory_lists_it(nasty):
    members = {normal_name(member.name): member for member in members_of(nasty)}
    assert {name: code for code, name in members[b"modes"].record.entries}[b"4755"] == b"Y"
    assert (b"D", b"modes") in members[b"."].record.entries


def test_an_archive_of_which_all_is_wanted_passes_byte_for_byte(nasty):
    output = run(nasty)
    assert nasty.startswith(output)
    assert nasty[len(output) :].strip(b"\0") == b""


def test_what_passes_does_not_depend_on_the_cuts(nasty):
    is_wanted = lambda member: len(member.name) % 2 == 0  # noqa: E731
    whole = run(nasty, is_wanted)
    for piece in (1, 7, 511, 512, 513, 4096, 100_001):
        assert run(nasty, is_wanted, piece) == whole


def test_only_what_is_wanted_is_unpacked_and_unchanged(nasty, tree, tmp_path):
    wanted = {b".", b"sparse", b"modes", b"modes/4755", b"caf\xe9", b"attributes"}
    output = run(nasty, lambda member: normal_name(member.name) in wanted)
    unpacked = describe_tree(extract(output, tmp_path / "out"))
    source = describe_tree(tree)
    assert unpacked == {name: source[name] for name in wanted}


def test_renames_are_told_and_can_be_stripped(tmp_path):
    for tar_format in ("posix", "gnu"):
        work = tmp_path / tar_format
        (work / "tree" / "a" / "sub").mkdir(parents=True)
        (work / "tree" / "b").mkdir()
        archive(work / "tree", work / "index", work / "full.tar", tar_format=tar_format)
        (work / "tree" / "a").rename(work / "tree" / "x")
        (work / "tree" / "b").rename(work / "tree" / "a")
        (work / "tree" / "x").rename(work / "tree" / "b")
        data = archive(work / "tree", work / "index", work / "inc.tar", tar_format=tar_format).read_bytes()
        renames = [each for member in members_of(data) for each in member.record.renames]
        assert sorted(renames, key=str) == sorted(
            [Rename(b"b", b""), Rename(b"a", b"b"), Rename(b"", b"a")], key=str
        )
        stripped = run(data, strip_renames=True)
        assert [member.record.renames for member in members_of(stripped)] == [()] * 4
        assert [member.record.entries for member in members_of(stripped)] == [
            member.record.entries for member in members_of(data)
        ]
        assert [entry.name for entry in tarfile.open(fileobj=io.BytesIO(stripped))] == [
            entry.name for entry in tarfile.open(fileobj=io.BytesIO(data))
        ]


def test_nothing_behind_the_end_mark_passes(nasty):
    hidden = run(nasty)[:-1024]
    for padding in (512, 1024, 5120):
        assert run(hidden + bytes(padding) + hidden) == run(nasty)


@pytest.mark.parametrize("piece", [1, 512, 100_001])
@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b"", "no end mark"),
        (bytes(512), None),
        (bytes(10_240), None),
        (bytes(512) + b"x", "goes on behind"),
        (bytes(10_240) + b"x" + bytes(511), "goes on behind"),
    ],
)
def test_what_is_strange_about_the_end_is_told(nasty, tail, expected, piece):
    stream = TarStream(lambda member: True)
    data = run(nasty)[:-1024] + tail
    for start in range(0, len(data), piece):
        stream.feed(data[start : start + piece])
    stream.end()
    assert stream.doubt is None if expected is None else expected in stream.doubt


def test_an_archive_cut_anywhere_within_a_member_is_refused(nasty):
    boundaries = {0}
    position = 0
    stream = TarStream(lambda member: False)
    for position in range(0, len(nasty), 512):
        stream.feed(nasty[position : position + 512])
        if stream.is_at_end:
            break
    for cut in range(1, min(position, 40 * 512), 256):
        try:
            run(nasty[:cut])
        except IntegrityError:
            continue
        boundaries.add(cut)
    assert all(cut % 512 == 0 for cut in boundaries)


def header(name=b"x", size=b"00000000000\0", kind=b"0", link=b"", magic=b"ustar\x0000"):
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124 : 124 + len(size)] = size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def record(text):
    length = next(n for n in range(len(text) + 2, len(text) + 9) if len(str(n)) + len(text) + 2 == n)
    return b"%d %b\n" % (length, text)


def pax(*records, kind=b"x"):
    content = b"".join(records)
    return header(b"pax", b"%011o\0" % len(content), kind) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 512,
        header()[:148] + b"000000\0 " + header()[156:],
        header(kind=b"M"),
        header(kind=b"N"),
        header(size=b"0000000000x\0"),
        header(size=b"\xff" * 12),
        header(size=b"\x80" + b"\xff" * 11),
        header(size=b"00000000010\0", kind=b"5"),
        header(size=b"00000000010\0", kind=b"1"),
        header(size=b"77777777777\0", kind=b"x"),
        header(size=b"00077777777\0", kind=b"L"),
        header(size=b"00000000000\0", kind=b"x"),
        header(name=b""),
        pax(record(b"path=a")) + pax(record(b"path=b")) + header(),
        pax(record(b"path=")) + header(),
        pax(record(b"path=a\0b")) + header(),
        pax(b"9 path=ab") + header(),
        pax(b"99 path=a\n") + header(),
        pax(b"0 path=a\n") + header(),
        pax(record(b"size=x")) + header(),
        pax(record(b"size=-1")) + header(),
        pax(record(b"path=a"), kind=b"g") + header(),
        pax(record(b"GNU.dumpdir=Qa\0\0")) + header(kind=b"5"),
        pax(record(b"GNU.dumpdir=Ya\0\0")) + header(kind=b"0"),
        pax(record(b"path=a")) + bytes(512),
        header(name=b"d/", kind=b"D", size=b"00000000004\0") + b"Rab\0" + bytes(508),
        header(name=b"d/", kind=b"D", size=b"00000000006\0") + b"Ya/b\0\0" + bytes(506),
        header(name=b"d/", kind=b"D", size=b"00000000004\0") + b"D..\0" + bytes(508),
    ],
)
def test_what_is_no_archive_or_could_be_read_in_two_ways_is_refused(data):
    with pytest.raises(IntegrityError):
        run(data + bytes(1024))


def test_a_size_in_base_256_is_understood():
    content = b"hello"
    data = header(size=b"\x80" + bytes(10) + b"\x05") + content + bytes(507) + header(b"y") + bytes(1024)
    assert [(member.name, member.size) for member in members_of(data)] == [(b"x", 5), (b"y", 0)]


def test_a_size_in_the_extended_header_counts_where_the_header_cannot_hold_it():
    data = pax(record(b"size=8589934592"), record(b"path=long")) + header()
    stream = TarStream(lambda member: (member.name, member.size) == (b"long", 8589934592))
    assert b"".join(stream.feed(data)) == data
    with pytest.raises(IntegrityError, match="cut off"):
        stream.end()


@pytest.mark.parametrize("kind", [b"0", b"5", b"D", b"2"])
def test_two_sizes_of_one_member_are_refused(kind):
    data = pax(record(b"size=5")) + header(b"d/", b"%011o\0" % 512, kind) + bytes(2048)
    with pytest.raises(IntegrityError, match="512 bytes with an extended header that says 5"):
        members_of(data)


def test_a_global_header_passes_whatever_becomes_of_the_members():
    comment = pax(record(b"comment=a"), kind=b"g")
    assert run(comment + header() + bytes(1024), lambda member: False) == comment + bytes(1024)


def test_a_file_whose_name_ends_with_a_slash_is_a_directory():
    assert members_of(header(b"d/") + bytes(1024))[0].type is MemberType.DIRECTORY


@given(st.binary(max_size=2000), st.integers(0, 20))
@settings(deadline=None)
def test_any_bytes_pass_or_are_refused(noise, where):
    data = bytearray(pax(record(b"path=a")) + header() + header(b"y", kind=b"5") + bytes(1024))
    data[where * 50 : where * 50 + len(noise)] = noise
    try:
        run(bytes(data))
    except IntegrityError:
        pass


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=150), st.binary(max_size=1500)), max_size=8), st.data()
)
@settings(max_examples=60, deadline=None)
def test_any_members_pass_and_are_told_as_they_are(members, data):
    members = [(name.replace(b"\0", b"x"), content) for name, content in members]
    members = [(name, content) for name, content in members if not name.endswith(b"/")]
    buffer = io.BytesIO()
    form = data.draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    with tarfile.open(fileobj=buffer, mode="w", format=form) as output:
        for name, content in members:
            entry = tarfile.TarInfo(os.fsdecode(name))
            entry.size = len(content)
            output.addfile(entry, io.BytesIO(content))
    archive_bytes = buffer.getvalue()
    piece = data.draw(st.integers(1, 3000))
    assert [(each.name, each.size) for each in members_of(archive_bytes, piece=piece)] == [
        (name, len(content)) for name, content in members
    ]
    kept = data.draw(st.sets(st.sampled_from([name for name, _ in members]))) if members else set()
    passed = run(archive_bytes, lambda member: member.name in kept, piece)
    with tarfile.open(fileobj=io.BytesIO(passed)) as result:
        found = [(os.fsencode(entry.name), result.extractfile(entry).read()) for entry in result]
    assert found == [(name, content) for name, content in members if name in kept]
