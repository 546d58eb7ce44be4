"""The members of a state, from its last archive."""

from guerillabackup.restore.directory_record import DirectoryRecord
from guerillabackup.restore.listing import StateListing
from guerillabackup.restore.tar_stream import MemberType, TarMember


def listed(members, **options):
    listing = StateListing(**options)
    return [(each.name, each.type, each.size) for member in members for each in listing.take(member)]


def directory(name, record):
    return TarMember(name, MemberType.DIRECTORY, 0, 0, b"", DirectoryRecord.parse(record))


def file(name, size=3):
    return TarMember(name, MemberType.FILE, size, 0, b"", None)


INCREMENTAL = [
    directory(b"./", b"Da\0Nsame\0Ynew\0\0"),
    directory(b"./a/", b"Nold\0\0"),
    file(b"./new", 7),
]


def test_an_incremental_lists_what_it_holds_and_what_is_unchanged_each_once():
    assert listed(INCREMENTAL, incremental=True) == [
        (b".", "directory", None),
        (b"a", "directory", None),
        (b"same", None, None),
        (b"a/old", None, None),
        (b"new", "file", 7),
    ]


def test_a_full_lists_its_members():
    members = [directory(b"./", b"Da\0Yf\0\0"), directory(b"./a/", b"\0"), file(b"./f")]
    assert listed(members, incremental=False) == [
        (b".", "directory", None),
        (b"a", "directory", None),
        (b"f", "file", 3),
    ]


def test_only_what_is_wanted_is_listed():
    names = [
        name for name, _, _ in listed(INCREMENTAL, incremental=True, is_wanted=lambda name: b"a" in name)
    ]
    assert names == [b"a", b"same", b"a/old"]
