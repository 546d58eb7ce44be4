"""What to tell people about what stands in the way of a restore. No I/O."""

import difflib
from collections.abc import Callable, Iterable, Sequence

MAX_DOUBTS = 20
"""Files of a source that cannot be read or belong to no element: how many are told of one by one."""
NOT_ROOT = (
    "not root: owners and groups are not restored, nor set-id bits of others' files, and attributes and "
    "device files only as far as a user may; all is yours"
)
NAME_THE_KEYRING = (
    "name the directory of the keyring that has the key with --private-keyring, several times for several, "
    "or in GeneralPrivateKeyringDir"
)


def count_of(count: int, noun: str) -> str:
    """`1 name`, `2 names`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def advise_on_keys(keyring: str, total: int, protected: int, passphrase_file: str | None) -> str:
    """What to do when no key of a keyring decrypts: it has so many secret ones, so many with passphrases."""
    if total == 0:
        return f"{keyring} holds no secret key at all: {NAME_THE_KEYRING}"
    if protected == 0:
        return f"no secret key of {keyring} has a passphrase, it is the wrong keyring: {NAME_THE_KEYRING}"
    # Not how many: what is counted are the files of pairs and of their parts.
    having = f"{'its secret keys' if protected == total else 'some of its secret keys'} have a passphrase"
    if passphrase_file is None:
        hint = "name the file with it by --passphrase-file; if it is none of these"
        return f"{having}: {hint}, {NAME_THE_KEYRING}"
    # What was typed or came from a pipe is in memory, under a name that says nothing.
    is_typed = passphrase_file.startswith("/proc/")
    other = "what was given is not theirs" if is_typed else f"{passphrase_file} has not theirs"
    return (
        f"{having}: either {other}, then give the right one with "
        f"--passphrase-file, or it is the wrong keyring, then {NAME_THE_KEYRING}"
    )


def shorten(texts: Sequence[str]) -> list[str]:
    """The first of them, and how many there are besides."""
    if len(texts) <= MAX_DOUBTS:
        return list(texts)
    return [*texts[:MAX_DOUBTS], f"and {len(texts) - MAX_DOUBTS} more of the kind"]


def suggest_close(text: str, names: Iterable[str]) -> str:
    """What to add to a sentence about a name that is not there: those that are like it, if there are any."""
    close = [name for name in difflib.get_close_matches(text, list(names), n=5, cutoff=0.4) if name != text]
    return f"; did you mean {', '.join(close)}" if close else ""


def suggest_above(directory: str, source: str, has_source: Callable[[str], bool]) -> str:
    """What to add where a storage lacks a source because its directory was named a level too deep, or more.

    It is so when the directory ends as the source begins, and the storage has what is left of the source.
    """
    folders, steps = directory.rstrip("/").split("/"), source.strip("/").split("/")
    for count in range(1, min(len(steps), len(folders))):
        if folders[-count:] == steps[:count] and has_source("/" + "/".join(steps[count:])):
            up = "one directory up" if count == 1 else f"{count} directories up"
            return f"; is the storage {'/'.join(folders[:-count]) or '/'}, {up}"
    return ""
