"""Reads a tar archive as it passes by, and lets through only the members that are wanted, unchanged. No I/O.

All that GNU tar writes is understood: ustar, pax (`x`, `g`) and GNU headers, long names, sparse members,
sizes in base 256, directory records. What tar itself would read in another way than we do is refused, so that
a judgement made here holds for what tar does with the same bytes.
"""

import enum
import re
from collections.abc import Callable, Mapping

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.access_lists import lists_by_number
from guerillabackup.restore.directory_record import DirectoryRecord
from guerillabackup.restore.member_patterns import show
from guerillabackup.restore.tar_header import (
    BLOCK_SIZE,
    OCTAL,
    owner_of,
    pad,
    padded,
    parse_number,
    parse_pax,
    pax_record,
    signed_decimal,
    text_of,
    with_size,
    without_set_ids,
    xattrs_of,
)
from guerillabackup.restore.tar_member import MemberType, TarMember
from guerillabackup.restore.tar_sparse import PaxSparseMap, check_old_map, is_old_map_continued

MAX_EXTENDED_HEADER_SIZE = 256 << 20
"""Bytes of one extended header or directory record: a directory of some million entries."""
MAX_LONG_NAME_SIZE = 1 << 20
MAX_MEMBER_SIZE = 1 << 62

_ZERO_BLOCK = bytes(BLOCK_SIZE)
_OLD_GNU_MAGIC = b"ustar  \0"
_MAX_OCTAL_SIZE = 8**11 - 1
_PAX_FORBIDDEN_GLOBALLY = (b"path", b"linkpath", b"size", b"GNU.")


_TYPES = {
    b"0": MemberType.FILE,
    b"\0": MemberType.FILE,
    b"7": MemberType.FILE,
    b"S": MemberType.FILE,
    b"1": MemberType.HARD_LINK,
    b"2": MemberType.SYMBOLIC_LINK,
    b"3": MemberType.CHARACTER_DEVICE,
    b"4": MemberType.BLOCK_DEVICE,
    b"5": MemberType.DIRECTORY,
    b"D": MemberType.DIRECTORY,
    b"6": MemberType.FIFO,
}
_GLOBAL, _LONG_NAME, _LONG_LINK, _VOLUME_LABEL = b"g", b"L", b"K", b"V"
_EXTENSIONS = (_GLOBAL, b"x", b"X", _LONG_NAME, _LONG_LINK)


class _Wanted(enum.Enum):
    """What the collected block is, when it is complete."""

    HEADER = enum.auto()
    EXTENSION = enum.auto()
    SPARSE_MAP = enum.auto()
    PAX_SPARSE_MAP = enum.auto()
    RECORD = enum.auto()
    NOTHING = enum.auto()


class TarStream:
    """Takes an archive in pieces of any size and hands on what is wanted of it.

    `is_wanted` is asked once for each member, in order. With `strip_renames` the rename records of
    directories are left out, with `by_number` access control lists name users and groups by their numbers.
    `unpacked_by` are the user and group that all members get where they cannot have their own. After the
    end-of-archive mark nothing is handed on but that mark.
    """

    def __init__(
        self,
        is_wanted: Callable[[TarMember], bool],
        *,
        strip_renames: bool = False,
        by_number: bool = False,
        unpacked_by: tuple[int, int] | None = None,
    ) -> None:
        self._is_wanted = is_wanted
        self._strip_renames = strip_renames
        self._by_number = by_number
        self._unpacked_by = unpacked_by
        self.has_foreign_owners = False
        self._offset = 0
        self._collected = bytearray()
        self._size_needed = BLOCK_SIZE
        self._expected = _Wanted.HEADER
        self._payload_left = 0
        self._passes_payload = False
        self._header = b""
        self._prefix: list[bytes] = []
        self._pax_map: PaxSparseMap | None = None
        self._pax: dict[bytes, bytes] = {}
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None
        self.members_seen = 0
        self._has_more = False

    def feed(self, data: bytes) -> list[memoryview]:
        """What of these bytes, and of what was held back, is handed on; slices of `data` among it.

        Raises IntegrityError when it is not an archive.
        """
        view = memoryview(data)
        output: list[memoryview] = []
        while len(view) > 0 and self._expected is not _Wanted.NOTHING:
            if self._payload_left > 0:
                taken = view[: self._payload_left]
                self._payload_left -= len(taken)
                if self._passes_payload:
                    output.append(taken)
            else:
                taken = view[: self._size_needed - len(self._collected)]
                self._collected += taken
            view = view[len(taken) :]
            self._offset += len(taken)
            if self._payload_left == 0 and len(self._collected) == self._size_needed:
                block = bytes(self._collected)
                self._collected.clear()
                output += [memoryview(piece) for piece in self._take_block(block)]
        if len(view) > 0 and not self._has_more:
            self._has_more = bytes(view).strip(b"\0") != b""
        return output

    def end(self) -> None:
        """The archive has no more bytes; raises IntegrityError when it should have."""
        is_between = self._expected is _Wanted.HEADER and not self._collected and not self._prefix
        if self._expected is not _Wanted.NOTHING and not (is_between and self._payload_left == 0):
            raise IntegrityError(f"archive is cut off after {self._offset} bytes, within a member")

    @property
    def doubt(self) -> str | None:
        """What is strange about the end of an archive that `end` took for whole."""
        if not self.is_at_end:
            return "the archive has no end mark: what follows may have been cut off, between two members"
        if self._has_more:
            return "the archive goes on behind its end mark: what is there is not restored, as tar does not"
        return None

    @property
    def is_at_end(self) -> bool:
        """Whether the end-of-archive mark was seen."""
        return self._expected is _Wanted.NOTHING

    def _take_block(self, block: bytes) -> list[bytes]:
        takers = {
            _Wanted.HEADER: self._take_header,
            _Wanted.EXTENSION: self._take_extension,
            _Wanted.SPARSE_MAP: self._take_sparse_map,
            _Wanted.PAX_SPARSE_MAP: self._take_pax_map,
        }
        return takers.get(self._expected, self._take_record)(block)

    def _take_header(self, header: bytes) -> list[bytes]:
        if header == _ZERO_BLOCK:
            if self._prefix:
                raise self._refusal("an extended header without a member")
            self._expected = _Wanted.NOTHING
            return [bytes(2 * BLOCK_SIZE)]
        self._check_sum(header)
        kind = header[156:157]
        self._header = header
        size = self._number(header[124:136], "size")
        if kind in _EXTENSIONS:
            limit = MAX_LONG_NAME_SIZE if kind in (_LONG_NAME, _LONG_LINK) else MAX_EXTENDED_HEADER_SIZE
            if not 0 < size <= limit:
                raise self._refusal(f"an extended header of {size} bytes, limit {limit}")
            self._need(_Wanted.EXTENSION, padded(size))
            return []
        if kind == _VOLUME_LABEL and size == 0:
            return [header]
        if kind not in _TYPES:
            raise self._refusal(f"a member of type {show(kind)}, which is not supported")
        self._check_sizes(kind, size)
        if kind == b"S":
            if header[257:265] != _OLD_GNU_MAGIC or self._pax:
                raise self._refusal("a sparse member of a format that tar reads in another way")
            return self._take_old_map(header)
        if any(key.startswith(b"GNU.sparse.") for key in self._pax):
            return self._begin_pax_map(kind)
        if kind == b"D":
            if size > MAX_EXTENDED_HEADER_SIZE:
                raise self._refusal(f"a directory record of {size} bytes, limit {MAX_EXTENDED_HEADER_SIZE}")
            if size > 0:
                self._need(_Wanted.RECORD, padded(size))
                return []
        return self._take_member(size, None, [header])

    def _take_extension(self, block: bytes) -> list[bytes]:
        header = self._header
        self._need(_Wanted.HEADER, BLOCK_SIZE)
        kind = header[156:157]
        content = block[: self._number(header[124:136], "size")]
        if kind == _GLOBAL:
            for key in self._parse_pax(content):
                if key.startswith(_PAX_FORBIDDEN_GLOBALLY):
                    raise self._refusal(f"a global header that sets {show(key)}")
            return [header, block]
        if any(other[156:157] == kind for other in self._prefix[::2]):
            raise self._refusal("a member with two extended headers of one kind")
        if kind == _LONG_NAME:
            self._long_name = content.split(b"\0", 1)[0]
        elif kind == _LONG_LINK:
            self._long_link = content.split(b"\0", 1)[0]
        elif self._pax:
            raise self._refusal("a member with two extended headers")
        else:
            self._pax = self._parse_pax(content)
        self._prefix += [header, block]
        return []

    def _take_sparse_map(self, block: bytes) -> list[bytes]:
        return self._take_old_map(self._header + block)

    def _take_old_map(self, header: bytes) -> list[bytes]:
        """What there is of an old GNU header; tar has to find the end of the content where we do."""
        self._header = header
        is_continued = is_old_map_continued(header)
        if is_continued is None or len(header) > MAX_EXTENDED_HEADER_SIZE:
            raise self._refusal("a sparse map whose end cannot be told")
        if is_continued:
            self._need(_Wanted.SPARSE_MAP, BLOCK_SIZE)
            return []
        size = self._number(header[124:136], "size")
        if not check_old_map(header, size):
            raise self._refusal(f"a sparse map that is not one of {size} bytes")
        return self._take_member(size, None, [header])

    def _begin_pax_map(self, kind: bytes) -> list[bytes]:
        """The map of a sparse member with extended header is in front of its content."""
        pax = self._pax
        versions = pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")
        others = (b"GNU.sparse.map", b"GNU.sparse.offset", b"GNU.sparse.numblocks", b"GNU.sparse.numbytes")
        if versions != (b"1", b"0") or any(key in pax for key in others) or kind not in (b"0", b"\0", b"7"):
            raise self._refusal("a sparse member of a format other than 1.0")
        self._pax_map = PaxSparseMap(self._size())
        self._need(_Wanted.PAX_SPARSE_MAP, BLOCK_SIZE)
        return []

    def _take_pax_map(self, block: bytes) -> list[bytes]:
        assert self._pax_map is not None
        self._pax_map.add(block)
        if not self._pax_map.is_right:
            raise self._refusal(f"a sparse map that is not one of {self._size()} bytes")
        if not self._pax_map.is_complete:
            self._need(_Wanted.PAX_SPARSE_MAP, BLOCK_SIZE)
            return []
        blocks, self._pax_map = self._pax_map.text, None
        output = self._take_member(self._size(), None, [self._header, blocks])
        self._payload_left -= len(blocks)
        return output

    def _size(self) -> int:
        return self._decimal(b"size") if b"size" in self._pax else self._number(self._header[124:136], "size")

    def _check_sizes(self, kind: bytes, size: int) -> None:
        """Refuse a size of the extended header that contradicts the header's, where that could hold it."""
        if b"size" not in self._pax:
            return
        extended = self._decimal(b"size")
        is_file = _TYPES[kind] is MemberType.FILE
        if not is_file or (extended <= _MAX_OCTAL_SIZE and extended != size):
            raise self._refusal(f"a member of {size} bytes with an extended header that says {extended}")

    def _take_record(self, block: bytes) -> list[bytes]:
        header = self._header
        size = self._number(header[124:136], "size")
        record = DirectoryRecord.parse(block[:size])
        pieces = [header, block]
        if self._strip_renames and record.has_rename_records:
            stripped = record.serialize_entries()
            pieces = [with_size(header, len(stripped)), pad(stripped)]
        return self._take_member(0, record, pieces)

    def _take_member(self, size: int, record: DirectoryRecord | None, pieces: list[bytes]) -> list[bytes]:
        """The whole header of a member is there: ask for it, and see to its payload."""
        self._need(_Wanted.HEADER, BLOCK_SIZE)
        if b"size" in self._pax:
            size = self._decimal(b"size")
        if b"GNU.dumpdir" in self._pax:
            if record is not None:
                raise self._refusal("a directory with two records")
            record = DirectoryRecord.parse(self._pax[b"GNU.dumpdir"])
            if self._strip_renames and record.has_rename_records:
                self._strip_record(record)
        if self._by_number and self._pax and (lists := lists_by_number(self._pax)):
            self._add_to_pax(lists)
        member = self._member(size, record)
        if member.type is not MemberType.FILE and size > 0:
            raise self._refusal(f"a {member.type.value} with {size} bytes of content")
        if record is not None and member.type is not MemberType.DIRECTORY:
            raise self._refusal(f"a {member.type.value} with a directory record")
        self.members_seen += 1
        self._payload_left = padded(size)
        self._passes_payload = self._is_wanted(member)
        if self._passes_payload and self._unpacked_by is not None:
            pieces = self._without_owner(member, pieces, self._unpacked_by)
        output = [*self._prefix, *pieces] if self._passes_payload else []
        self._prefix = []
        self._pax = {}
        self._long_name = self._long_link = None
        return output

    def _without_owner(
        self, member: TarMember, pieces: list[bytes], unpacked_by: tuple[int, int]
    ) -> list[bytes]:
        if owner_of(pieces[0], self._pax) == unpacked_by:
            return pieces
        self.has_foreign_owners = True
        is_file = member.type is MemberType.FILE
        return [without_set_ids(pieces[0], self._pax, unpacked_by), *pieces[1:]] if is_file else pieces

    def _member(self, size: int, record: DirectoryRecord | None) -> TarMember:
        header, pax = self._header, self._pax
        name = pax.get(b"GNU.sparse.name") or pax.get(b"path") or self._long_name
        if name is None:
            name = text_of(header[0:100])
            if header[257:263] == b"ustar\0" and header[345:346] != b"\0":
                name = text_of(header[345:500]) + b"/" + name
        link = pax.get(b"linkpath") or self._long_link or text_of(header[157:257])
        if not name or b"\0" in name or b"\0" in link:
            raise self._refusal(f"the member name {show(name)}")
        kind = _TYPES[header[156:157]]
        if kind is MemberType.FILE and name.endswith(b"/"):
            kind = MemberType.DIRECTORY
        content_size = size
        if b"GNU.sparse.realsize" in pax or b"GNU.sparse.size" in pax:
            key = b"GNU.sparse.realsize" if b"GNU.sparse.realsize" in pax else b"GNU.sparse.size"
            content_size = self._decimal(key)
        elif header[156:157] == b"S":
            content_size = self._number(header[483:495], "real size")
        mtime = signed_decimal(pax[b"mtime"]) if b"mtime" in pax else parse_number(header[136:148]) or 0
        if kind is not MemberType.DIRECTORY:
            return TarMember(name, kind, content_size, mtime, link, record)
        mode = (parse_number(header[100:108]) or 0) & 0o7777
        return TarMember(name, kind, content_size, mtime, link, record, mode, xattrs_of(pax))

    def _strip_record(self, record: DirectoryRecord) -> None:
        """Put the record without renames into the pax header held back, in the place of the whole one."""
        pax = {**self._pax, b"GNU.dumpdir": record.serialize_entries()}
        self._replace_pax(b"".join(pax_record(key, value) for key, value in pax.items()))

    def _add_to_pax(self, values: Mapping[bytes, bytes]) -> None:
        """Add values to the pax header held back; of several with one key the last counts."""
        index = self._pax_index()
        content = self._prefix[index + 1][: self._number(self._prefix[index][124:136], "size")]
        self._replace_pax(content + b"".join(pax_record(key, value) for key, value in values.items()))

    def _replace_pax(self, content: bytes) -> None:
        index = self._pax_index()
        self._prefix[index] = with_size(self._prefix[index], len(content))
        self._prefix[index + 1] = pad(content)

    def _pax_index(self) -> int:
        return next(i for i, each in enumerate(self._prefix[::2]) if each[156:157] in (b"x", b"X")) * 2

    def _need(self, what: _Wanted, size: int) -> None:
        self._expected = what
        self._size_needed = size if what is not _Wanted.HEADER else BLOCK_SIZE

    def _check_sum(self, header: bytes) -> None:
        match = OCTAL.fullmatch(header[148:156])
        claimed = int(match[1], 8) if match is not None and match[1] else -1
        total = sum(header) - sum(header[148:156]) + 8 * 32
        if claimed != total:
            negative = sum(1 for byte in header[:148] + header[156:] if byte > 127)
            if claimed != total - 256 * negative:
                raise self._refusal("no header where one has to be")

    def _number(self, field: bytes, what: str) -> int:
        value = parse_number(field)
        if value is None or not 0 <= value <= MAX_MEMBER_SIZE:
            raise self._refusal(f"the {what} {show(field)}")
        return value

    def _decimal(self, key: bytes) -> int:
        value = self._pax[key]
        if not re.fullmatch(rb"[0-9]{1,19}", value) or int(value) > MAX_MEMBER_SIZE:
            raise self._refusal(f"the {key.decode('ascii')} {show(value)}")
        return int(value)

    def _parse_pax(self, content: bytes) -> dict[bytes, bytes]:
        try:
            return parse_pax(content)
        except ValueError as error:
            raise self._refusal(str(error)) from error

    def _refusal(self, what: str) -> IntegrityError:
        return IntegrityError(f"archive has {what}, before byte {self._offset}")
