"""The original's helper functions and constants, with its names, argument orders and results. Touches: os."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError

CONFIG_GENERAL_DEBUG_TEST_MODE_KEY = "GeneralDebugTestModeFlag"
CONFIG_GENERAL_PERSISTENCY_BASE_DIR_KEY = "GeneralPersistencyBaseDir"
CONFIG_GENERAL_PERSISTENCY_BASE_DIR_DEFAULT = "/var/lib/guerillabackup/state"
CONFIG_GENERAL_RUNTIME_DATA_DIR_KEY = "GeneralRuntimeDataDir"
CONFIG_GENERAL_RUNTIME_DATA_DIR_DEFAULT = "/run/guerillabackup"
GENERATOR_UNIT_CLASS_KEY = "backupGeneratorUnitClass"
TRANSFER_RECEIVER_POLICY_CLASS_KEY = "TransferReceiverPolicyClass"
TRANSFER_RECEIVER_POLICY_INIT_ARGS_KEY = "TransferReceiverPolicyInitArgs"
TRANSFER_SENDER_POLICY_CLASS_KEY = "TransferSenderPolicyClass"
TRANSFER_SENDER_POLICY_INIT_ARGS_KEY = "TransferSenderPolicyInitArgs"
OPENER_INFO_FAIL_ON_ERROR = 0
OPENER_INFO_IGNORE_ACCESS_ERRORS = 1

DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        CONFIG_GENERAL_PERSISTENCY_BASE_DIR_KEY: CONFIG_GENERAL_PERSISTENCY_BASE_DIR_DEFAULT,
        CONFIG_GENERAL_RUNTIME_DATA_DIR_KEY: CONFIG_GENERAL_RUNTIME_DATA_DIR_DEFAULT,
    }
)
"""What the original takes where its configuration does not say; ours wants it said."""

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOCTTY
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOCTTY

Openers = list[tuple[int, list[tuple[int, int]]]]
"""Process id, and its descriptors of the file with their open flags."""


def isValueListOfType(value: object, targetType: type) -> bool:
    """Whether it is a list, and all in it are of the type."""
    return isinstance(value, list) and all(isinstance(item, targetType) for item in value)


def assertSourceUrlSpecificationConforming(sourceUrl: str) -> None:
    """Raises SourceUrlError for what is no source URL."""
    SourceUrl(sourceUrl)


def getPersistencyBaseDirPathname(configContext: Mapping[str, Any]) -> str:
    """Where units and agents keep what they must remember."""
    path: str = configContext.get(
        CONFIG_GENERAL_PERSISTENCY_BASE_DIR_KEY, CONFIG_GENERAL_PERSISTENCY_BASE_DIR_DEFAULT
    )
    return path


def getRuntimeDataDirPathname(configContext: Mapping[str, Any]) -> str:
    """Where sockets and the like are."""
    path: str = configContext.get(
        CONFIG_GENERAL_RUNTIME_DATA_DIR_KEY, CONFIG_GENERAL_RUNTIME_DATA_DIR_DEFAULT
    )
    return path


def readFully(readFd: int) -> bytes:
    """All bytes up to the end of input."""
    return b"".join(iter(lambda: os.read(readFd, 1 << 16), b""))


def listDirAt(dirFd: int, path: str = ".") -> list[str]:
    """The names in a directory below an open one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dirFd)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def secureOpenAt(
    dirFd: int | None,
    pathName: str,
    symlinksAllowedFlag: bool = False,
    dirOpenFlags: int = DIRECTORY_FLAGS,
    dirCreateMode: int | None = None,
    fileOpenFlags: int = FILE_FLAGS,
    fileCreateMode: int | None = None,
) -> int:
    """Open a file or directory below a directory, component by component; an absolute path below `/`.

    Without the flag no component may be a symbolic link. With `dirCreateMode` missing directories are made,
    the last component too where the flags have O_DIRECTORY and O_CREAT. The caller closes the descriptor.
    """
    if not dirOpenFlags & os.O_DIRECTORY:
        raise ConfigError(f"the flags for the directories of {pathName!r} lack O_DIRECTORY")
    if pathName != "/" and pathName.endswith("/"):
        raise ConfigError(f"path {pathName!r} ends with '/'")
    guard = 0 if symlinksAllowedFlag else os.O_NOFOLLOW
    *directories, last = pathName.lstrip("/").split("/")
    with contextlib.ExitStack() as opened:
        current = dirFd
        if pathName.startswith("/"):
            current = os.open("/", DIRECTORY_FLAGS)
            opened.callback(os.close, current)
        for name in directories:
            current = _open_directory(current, name, dirOpenFlags | guard, dirCreateMode)
            opened.callback(os.close, current)
        if not last:
            return os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_NOCTTY)
        if fileOpenFlags & os.O_DIRECTORY and fileOpenFlags & os.O_CREAT:
            # The kernel would make a file of that.
            flags = (fileOpenFlags | guard) & ~(os.O_CREAT | os.O_EXCL)
            return _open_directory(current, last, flags, dirCreateMode or fileCreateMode)
        return os.open(last, fileOpenFlags | guard, mode=fileCreateMode or 0, dir_fd=current)


def _open_directory(parent: int | None, name: str, flags: int, create_mode: int | None) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if create_mode is None:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode=create_mode, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)


def openPersistencyFile(configContext: Mapping[str, Any], pathName: str, flags: int, mode: int | None) -> int:
    """Open, or with O_CREAT make, what is remembered at a path below the base directory."""
    return secureOpenAt(
        None,
        os.path.join(getPersistencyBaseDirPathname(configContext), pathName),
        dirCreateMode=0o700,
        fileOpenFlags=flags | os.O_NOFOLLOW | os.O_NOCTTY,
        fileCreateMode=mode,
    )


def getFileOpenerInformation(
    pathNameList: Sequence[str], checkMode: int = OPENER_INFO_FAIL_ON_ERROR
) -> list[Openers | None]:
    """For each absolute path: which processes have it open, None where none is seen.

    Processes that may not be looked at are left out whatever the mode says: in containers not even root may.
    """
    for path in pathNameList:
        if path != os.path.realpath(path):
            raise ConfigError(f"{path} is not an absolute path without links")
    found: list[Openers | None] = [None] * len(pathNameList)
    for name in sorted((name for name in os.listdir("/proc") if name.isdecimal()), key=int):
        for path, descriptor, flags in _list_open_files(name, frozenset(pathNameList)):
            for index, wanted in enumerate(pathNameList):
                if wanted == path:
                    found[index] = _add_opener(found[index] or [], int(name), descriptor, flags)
    return found


def _list_open_files(process: str, wanted: frozenset[str]) -> list[tuple[str, int, int]]:
    """Path, descriptor and open flags of those wanted; a process may end at any time."""
    files = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                path = os.readlink(f"/proc/{process}/fd/{name}")
                if path in wanted:
                    files.append((path, int(name), _read_open_flags(process, name)))
    return files


def _read_open_flags(process: str, descriptor: str) -> int:
    with open(f"/proc/{process}/fdinfo/{descriptor}", encoding="ascii") as stream:
        for line in stream:
            key, _, value = line.partition(":")
            if key == "flags":
                return int(value, 8)
    return os.O_RDWR  # not told: it may be written


def _add_opener(openers: Openers, process_id: int, descriptor: int, flags: int) -> Openers:
    if not openers or openers[-1][0] != process_id:
        openers.append((process_id, []))
    openers[-1][1].append((descriptor, flags))
    return openers
