"""Starts a program so that it can change files below one directory and nowhere else.

Two walls, each round the calling thread and what it starts from then on. So a thread is made for it, which
ends once the program runs; our own process is left as it is. `landlock` refuses to create, write, truncate,
remove, rename and link outside, not to set modes, owners, times and attributes: Linux 6.18 has no such right.
See landlock(7) and include/uapi/linux/landlock.h. `mount namespace` has all that is mounted read-only but the
directory, which refuses those too, and takes CAP_SYS_ADMIN. See mount_namespaces(7), mount_setattr(2),
open_tree(2), move_mount(2). They hold a program that is deceived, not one that wants out: root can mount.
Touches: ctypes, os.
"""

import ctypes
import errno
import functools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from guerillabackup.errors import PipelineError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

# System calls since Linux 5.2 have one number everywhere, but where numbers begin elsewhere.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_NUMBERED_OTHERWISE = ("alpha", "mips")

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
"""REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM."""
_REFER = 1 << 13

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_BOTH_ENDS_OPEN = 0x4 | 0x40
_MOUNT_ATTR_RDONLY = 1
_MS_PRIVATE = 1 << 18


class Wall(Enum):
    """What keeps a program inside."""

    MOUNT_NAMESPACE = "mount namespace"
    LANDLOCK = "landlock"


ALL_WALLS = (Wall.MOUNT_NAMESPACE, Wall.LANDLOCK)
"""In the order in which they are raised: Landlock forbids to mount."""


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [("handled_access_fs", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


class _MountAttributes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in ("attributes_set", "attributes_cleared", "propagation", "userns_fd")
    ]


@dataclass(slots=True)
class Confinement:
    """Keeps programs to one directory, by as many of the walls as this system and user can raise.

    `walls` are those round the last program that was started; none before, and none where there is nothing to
    confine: the directory is the root directory.
    """

    directory: str
    wanted: Sequence[Wall] = ALL_WALLS
    walls: tuple[Wall, ...] = field(default=(), init=False)

    @property
    def confined_by(self) -> tuple[str, ...]:
        """The names of the walls."""
        return tuple(wall.value for wall in self.walls)

    def start(self, start: Callable[[], Result]) -> Result:
        """Call `start` in a thread that is confined, as is what it starts; what it returns or raises.

        A thread in which a wall cannot be raised may be half confined: the next one does without.
        """
        for walls in self._choices():
            attempt = _Attempt(walls, self.directory, start)
            attempt.run()
            if attempt.refusal is None:
                self.walls = walls
                return attempt.take()
            log.debug("%s cannot be confined by %s: %s", self.directory, _name(walls), attempt.refusal)
        self.walls = ()
        log.info("what writes to %s is not confined to it", self.directory)
        return start()

    def _choices(self) -> list[tuple[Wall, ...]]:
        try:
            if os.path.samestat(os.stat(self.directory), os.stat("/")):
                return []
        except OSError as error:
            raise PipelineError(f"nothing can be confined to {self.directory}: {error.strerror}") from error
        choices = [tuple(self.wanted), *((wall,) for wall in (Wall.LANDLOCK, Wall.MOUNT_NAMESPACE))]
        possible = [choice for choice in choices if choice and set(choice) <= set(self.wanted)]
        return list(dict.fromkeys(possible))


class _Attempt(Generic[Result]):
    """One thread that raises walls round itself and calls something, or is refused a wall and does not."""

    def __init__(self, walls: Sequence[Wall], directory: str, start: Callable[[], Result]) -> None:
        self._walls = walls
        self._directory = directory
        self._start = start
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self.refusal: OSError | None = None

    def run(self) -> None:
        """Returns when the thread has ended."""
        thread = threading.Thread(target=self._be_confined, name="confined")
        thread.start()
        thread.join()

    def take(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _be_confined(self) -> None:
        try:
            for wall in self._walls:
                _RAISE[wall](self._directory)
        except OSError as error:
            self.refusal = error
            return
        try:
            self._results.append(self._start())
        except BaseException as error:
            self._error = error


def rights_to_write(version: int) -> int:
    """The rights of Landlock by which files change, of those that a version of its interface knows.

    Raises OSError for version 1, which denies all links and renames from one directory to another: archives
    with hard links could not be unpacked. Version 2 does not know truncate(2), which takes a file's name.
    """
    if version < 2:
        raise OSError(errno.ENOSYS, f"Landlock has version {version}, and 2 is needed for links")
    return _WRITE_FILE | _REMOVE_AND_MAKE | _REFER | (_TRUNCATE if version >= 3 else 0)


def _raise_landlock(directory: str) -> None:
    """Reading and executing are not handled, and stay as they are; /dev/null may be written to."""
    rights = rights_to_write(_call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))
    attributes = _RulesetAttributes(rights)
    ruleset_fd = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    try:
        _allow(ruleset_fd, directory, rights)
        _allow(ruleset_fd, os.devnull, rights & (_WRITE_FILE | _TRUNCATE))
        _check(_libc().prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))))
        _call(_RESTRICT_SELF, ruleset_fd, 0)
    finally:
        os.close(ruleset_fd)


def _allow(ruleset_fd: int, path: str, rights: int) -> None:
    path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights, path_fd)
        _call(_ADD_RULE, ruleset_fd, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(path_fd)


def _raise_mount_namespace(directory: str) -> None:
    """The directory is mounted once more upon itself, with all that is mounted in it, and as it is.

    Private first, so that nothing of this is seen outside; and the copy is made before the rest is read-only.
    """
    # The mounts of a thread cannot differ while it shares its working directory with others.
    _check(_libc().unshare(_CLONE_FS | _CLONE_NEWNS))
    _set_on_all_mounts(_MountAttributes(propagation=_MS_PRIVATE))
    directory_fd = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:
        flags = _AT_EMPTY_PATH | _AT_RECURSIVE | _OPEN_TREE_CLONE | os.O_CLOEXEC
        copy_fd = _call(_OPEN_TREE, directory_fd, b"", flags)
        try:
            _set_on_all_mounts(_MountAttributes(attributes_set=_MOUNT_ATTR_RDONLY))
            _call(_MOVE_MOUNT, copy_fd, b"", directory_fd, b"", _MOVE_MOUNT_BOTH_ENDS_OPEN)
        finally:
            os.close(copy_fd)
    finally:
        os.close(directory_fd)


def _set_on_all_mounts(attributes: _MountAttributes) -> None:
    _call(_MOUNT_SETATTR, -1, b"/", _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes))


def _call(number: int, *arguments: object) -> int:
    """A system call that libc has no function for; raises OSError."""
    if os.uname().machine.startswith(_NUMBERED_OTHERWISE):
        raise OSError(errno.ENOSYS, "system calls have other numbers on this machine")
    # Variable arguments pass as ints where nothing else is said, and the kernel reads all of a register.
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _check(_libc().syscall(ctypes.c_long(number), *wide))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _name(walls: Sequence[Wall]) -> str:
    return " and ".join(wall.value for wall in walls)


_RAISE: dict[Wall, Callable[[str], None]] = {
    Wall.LANDLOCK: _raise_landlock,
    Wall.MOUNT_NAMESPACE: _raise_mount_namespace,
}
