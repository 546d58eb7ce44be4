"""A sparse member's map says exactly where its content ends, or the archive is refused."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.tar_sparse import PaxSparseMap, check_old_map, is_old_map_continued
from guerillabackup.restore.tar_stream import TarStream

HIDDEN = b"hidden"


def block(text=b""):
    return text + bytes(-len(text) % 512)


def header(name=b"sp", size=0, kind=b"0", magic=b"ustar\x0000", entries=(), flag=0):
    data = bytearray(512)
    data[0 : len(name)] = name
    data[100:108] = b"0000644\0"
    data[124:136] = b"%011o\0" % size
    data[136:148] = b"00000000000\0"
    data[156:157] = kind
    data[257:265] = magic
    for number, (offset, length) in enumerate(entries):
        data[386 + 24 * number : 410 + 24 * number] = b"%011o\0%011o\0" % (offset, length)
    if entries:
        data[482] = flag
        data[483:495] = b"%011o\0" % 4096
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


def old(size=0, entries=(), flag=0, magic=b"ustar  \0"):
    return header(size=size, kind=b"S", magic=magic, entries=entries, flag=flag)


def pax(**values):
    content = b""
    for key, value in values.items():
        text = key.replace("_", ".").encode() + b"=" + value
        length = next(n for n in range(len(text) + 2, len(text) + 9) if len(str(n)) + len(text) + 2 == n)
        content += b"%d %b\n" % (length, text)
    return header(b"pax", len(content), b"x") + block(content)


def members_of(data):
    seen = []
    stream = TarStream(lambda member: seen.append(member.name) or True)
    output = b"".join(stream.feed(data))
    stream.end()
    assert output == data
    return seen


def names_in_pieces(data, size):
    seen = []
    stream = TarStream(lambda member: seen.append(member.name) or False)
    for start in range(0, len(data), size):
        stream.feed(data[start : start + size])
    stream.end()
    return seen


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    path = tmp_path_factory.mktemp("sparse")
    with open(path / "many", "wb") as stream:
        for number in range(200):
            stream.seek(number << 16)
            stream.write(b"x" * 4096)
        stream.truncate((200 << 16) + 3)
    with open(path / "odd", "wb") as stream:
        stream.write(b"y" * 5000)
        stream.seek(1 << 20)
        stream.write(b"z" * 777)
    with open(path / "hole", "wb") as stream:
        stream.truncate(1 << 22)
    return path


@pytest.mark.parametrize("form", ["posix", "gnu", "oldgnu"])
def test_all_maps_of_tar_are_right(tree, form):
    argv = ["tar", "--create", f"--format={form}", "--sparse", "--file=-", "hole", "many", "odd"]
    data = subprocess.run(argv, cwd=tree, check=True, stdout=subprocess.PIPE).stdout
    assert len(data) < 2 << 20
    assert members_of(data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512 + 1024))[:3] == [
        b"hole",
        b"many",
        b"odd",
    ]


V1 = {"GNU_sparse_major": b"1", "GNU_sparse_minor": b"0", "GNU_sparse_realsize": b"4096"}


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(old(512, [(0, 1024)]), id="more than the size"),
        pytest.param(old(1024, [(0, 512)]), id="less than the size"),
        pytest.param(old(2, [(0, 1), (512, 1)]), id="two regions in one block"),
        pytest.param(old(512, [(0, 512)], flag=0x30), id="a flag that is not one for all"),
        pytest.param(old(512, [(0, 512)], flag=1), id="a block after the end of the map"),
        pytest.param(old(512, [(0, 512)], magic=b"ustar\x0000"), id="a format without old maps"),
        pytest.param(pax(size=b"512") + old(512, [(0, 512)]), id="an old map with an extended header"),
        pytest.param(pax(**V1) + header(size=512) + block(b"128\n" + b"0\n" * 254), id="a map of two blocks"),
        pytest.param(pax(**V1) + header(size=1024) + block(b"1\n0\n1024\n"), id="a map of more content"),
        pytest.param(pax(**V1) + header(size=1024) + block(b"1\n0\n+512\n"), id="a sign"),
        pytest.param(pax(**V1) + header(size=1024) + block(b"1\n0\n"), id="a map without its end"),
        pytest.param(pax(**V1) + header(size=512, kind=b"5") + block(b"0\n"), id="a directory"),
        pytest.param(
            pax(GNU_sparse_map=b"0,1024", GNU_sparse_size=b"1024", GNU_sparse_numblocks=b"1")
            + header(size=512),
            id="format 0.1",
        ),
        pytest.param(pax(GNU_sparse_offset=b"0", GNU_sparse_numbytes=b"9") + header(size=9), id="format 0.0"),
    ],
)
def test_a_map_that_does_not_add_up_is_refused(member):
    with pytest.raises(IntegrityError, match="sparse"):
        members_of(member + header(HIDDEN) + header(b"bait") + bytes(1024))


def test_a_map_in_any_pieces_is_the_same():
    data = pax(**V1) + header(size=1024) + block(b"1\n0\n512\n") + block(b"x") + header(b"y") + bytes(1024)
    for size in (1, 7, 512, 700):
        assert names_in_pieces(data, size) == [b"sp", b"y"]


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(0, 700))
@settings(deadline=None)
def test_a_map_of_regions_is_right_for_their_size_alone(lengths, more):
    text = b"".join(
        b"%d\n" % number for number in (len(lengths), *[n for k in lengths for n in (0, 512 * k)])
    )
    size = len(block(text)) + 512 * sum(lengths) + more
    read = PaxSparseMap(size)
    for start in range(0, len(block(text)), 512):
        read.add(block(text)[start : start + 512])
    assert read.is_complete
    assert read.is_right == (more == 0)


@given(st.binary(min_size=512, max_size=512), st.integers(0, 1 << 20))
def test_any_bytes_are_judged(data, size):
    is_old_map_continued(data)
    assert check_old_map(data, size) in (True, False)
    read = PaxSparseMap(size)
    read.add(data)
    assert not (read.is_right and read.is_complete and size < 512)
