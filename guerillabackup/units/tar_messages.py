"""What GNU tar says on standard error, and whether its exit status may pass. No I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

RACE_STATUS = 1
ERROR_STATUS = 2
"""Exit statuses of GNU tar: some files changed while they were read; and something could not be done."""

MAX_SHOWN_LINES = 3
MAX_SHOWN_CHARACTERS = 200
"""Of what tar said, in the message of an error."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_RACES = re.compile(
    rf"tar: {_QUOTED}: (?:file changed as we read it|File removed before we read it"
    r"|Cannot [a-z]+: No such file or directory|Warning: .*|socket ignored|door ignored"
    r"|Unknown file type; file ignored|File shrank by [0-9]+ bytes?; padding with zeros"
    r"|file is on a different filesystem; not dumped|file is the archive; not dumped|contents not dumped"
    r"|implausibly old time stamp .*|time stamp .* is .* s in the future)"
    r"|tar: Removing leading .* from (?:member names|hard link targets)"
)
_UNREAD = re.compile(rf"tar: ({_QUOTED}): (?:Warning: )?(?:Cannot [a-z]+: (.*)|Read error .*)")
_VANISHED = re.compile(rf"tar: ({_QUOTED}): File removed before we read it")
_TOO_LONG = re.compile(r'tar: "((?:\./)?(?:[^"\\/]|\\.){1,255})/.*: File name too long', re.DOTALL)
_GONE = "No such file or directory"
_SHORTENED = re.compile(r" \([0-9]+ bytes left out\) ")
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abfnrtv\\"])')
_ESCAPED = dict(zip(b'abfnrtv\\"', b'\a\b\f\n\r\t\v\\"', strict=True))
_MOVED = re.compile(rf"tar: {_QUOTED}: Directory has been renamed from .*")
_SOCKET = re.compile(rf"tar: {_QUOTED}: socket ignored")
_CLOSING_REMARK = "tar: Exiting with failure status due to previous errors"
_LEFT_OUT = re.compile(r"\([0-9]+ lines left out\)")
_BAD_INDEX = re.compile(
    rf"tar: (?:{_QUOTED}:[^\"]*)?(?:Unexpected EOF in snapshot file|Bad incremental file format"
    r"|Unsupported incremental format version|Missing record terminator|Malformed dumpdir"
    r"|Invalid (?:time stamp|modification time|device number|inode number)|Unexpected field value)"
)


@dataclass(frozen=True, slots=True)
class Unread:
    """What is not in an archive as it was in the source: names as tar has them; None: too many to know.

    `count` is of those that were there and could not be read, at least so many.
    """

    names: frozenset[bytes] | None
    count: int


def find_unread(messages: Sequence[str]) -> Unread:
    """What tar could not read, or what was gone when it came to it, by what it said."""
    names, unreadable, is_known = set(), set(), True
    for line in messages:
        if _LEFT_OUT.fullmatch(line) or _SHORTENED.search(line):
            is_known = False
        elif match := _UNREAD.fullmatch(line):
            names.add(_unquote(match[1]))
            if match[2] != _GONE:
                unreadable.add(match[1])
        elif match := _VANISHED.fullmatch(line):
            names.add(_unquote(match[1]))
    return Unread(frozenset(names) if is_known else None, len(unreadable))


def only_races(exit_status: int, messages: Sequence[str]) -> bool:
    """Whether all that went wrong is that the source was changed meanwhile, and tar came to its end.

    Of more messages than are kept only a status of mere races tells what the rest said.
    """
    if exit_status not in (RACE_STATUS, ERROR_STATUS):
        return exit_status == 0
    lines = [line for line in messages if line.strip() not in ("", _CLOSING_REMARK)]
    if exit_status == RACE_STATUS:
        lines = [line for line in lines if not _LEFT_OUT.fullmatch(line)]
    return bool(lines) and all(_RACES.fullmatch(line) for line in lines)


def summarize(messages: Sequence[str]) -> str:
    """What is most worth knowing, short: failures before races, the first of them before the others."""
    lines = [line for line in messages if line.strip() not in ("", _CLOSING_REMARK)]
    failures = [line for line in lines if not _RACES.fullmatch(line)]
    chosen = (failures or lines)[:MAX_SHOWN_LINES]
    more = len(lines) - len(chosen)
    shown = [shorten(line.removeprefix("tar: ")) for line in chosen]
    return "; ".join([*shown, *([f"and {more} more lines"] if more else [])])


def find_long_path(messages: Sequence[str]) -> str | None:
    """The top directory, as an Exclude has it, of a path that is longer than the system takes."""
    for line in messages:
        if match := _TOO_LONG.fullmatch(line):
            return _unquote(f'"{match[1]}"').decode("utf-8", "backslashreplace")
    return None


def shorten(line: str) -> str:
    """A line with the middle of its name left out where that is long."""
    left_out = len(line) - MAX_SHOWN_CHARACTERS
    half = MAX_SHOWN_CHARACTERS // 2
    return line if left_out <= 0 else f"{line[:half]}…{line[-half:]}"


def split_sockets(messages: Sequence[str]) -> tuple[str | None, list[str]]:
    """How many sockets were left out, which nobody can change, as text; and the other lines."""
    others = [line for line in messages if not _SOCKET.fullmatch(line)]
    count = len(messages) - len(others)
    if count == 0:
        return None, others
    least = "at least " if any(_LEFT_OUT.fullmatch(line) for line in others) else ""
    return f"{least}{count} socket{'' if count == 1 else 's'} left out", others


def _unquote(quoted: str) -> bytes:
    """The name that tar's quoting style of C stands for, without a slash at its end."""

    def replace(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8) & 0xFF if len(code) == 3 else _ESCAPED[code[0]]])

    name = _ESCAPE.sub(replace, quoted[1:-1].encode("utf-8", "surrogateescape"))
    return name.rstrip(b"/") or name


def find_move(messages: Sequence[str]) -> str | None:
    """A line by which tar took a directory for moved, and will have it moved at a restore."""
    return next((line for line in messages if _MOVED.fullmatch(line)), None)


def is_bad_index(messages: Sequence[str]) -> bool:
    """Whether tar could not use the index of the backup before."""
    return any(_BAD_INDEX.match(line) for line in messages)
