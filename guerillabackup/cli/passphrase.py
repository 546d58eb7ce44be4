"""Where the passphrase of a secret key comes from: a file that was named, or who sits at the terminal.

What was typed is handed on as the path of a file that is in memory only, has no name, and ends with this
process: whatever takes a passphrase file takes it. Nobody is asked where there is no terminal, as in cron.
Touches: getpass, os, sys.
"""

import getpass
import os
import sys

import click

from guerillabackup.errors import ConfigError, KeyUnusableError
from guerillabackup.signature_home import check_passphrase, has_protected_keys, read_passphrase

TERMINAL = "/dev/tty"
MAX_TRIES = 3


def passphrase_source(file: str | None, *keyrings: str | None) -> str | None:
    """The file to read the passphrase from: the one given, or what is typed where a secret key has one.

    What can be read only once, such as a pipe, is read now and kept. None where no key has a passphrase,
    nobody can be asked, or the answer is empty. Raises ConfigError for what gpg does not take,
    KeyUnusableError after MAX_TRIES wrong answers, and Abort at the end of the input.
    """
    if file is not None:
        is_once = os.path.exists(file) and not os.path.isfile(file)
        return keep_in_memory(read_passphrase(file)) if is_once else file
    protected = [each for each in keyrings if each is not None and has_protected_keys(each)]
    if not protected or not is_somebody_there():
        return None
    where = " or ".join(protected)
    for tries in range(MAX_TRIES):
        if tries > 0:
            click.echo("the passphrase typed is wrong", err=True)
        text = _ask(f"Passphrase of the secret key in {where}: ")
        if not text:
            return None
        path = keep_in_memory(text)
        if any(_is_right(path, keyring) for keyring in protected):
            return path
    raise KeyUnusableError(
        f"the passphrase typed is wrong, {MAX_TRIES} times: no secret key in {where} has it; "
        "is it the right keyring"
    )


def ask_new_passphrase(name: str) -> str:
    """The file with what was typed twice for a new key; raises UsageError, ConfigError, Abort."""
    if not is_somebody_there():
        raise click.UsageError("nobody is here to be asked for a passphrase: say --passphrase-file FILE")
    text = _ask(f"Passphrase for the new key {name!r}: ")
    path = keep_in_memory(text)
    if _ask("The same again: ") != text:
        raise click.UsageError("the two passphrases are not the same: no key was made")
    return path


def is_somebody_there() -> bool:
    """Whether we are in the foreground of a terminal that stdin or stderr belongs to."""
    if not any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        return False
    try:
        descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(descriptor)


def keep_in_memory(passphrase: str) -> str:
    """A path under which we and our children read it, as long as this process lasts; raises ConfigError."""
    data = check_passphrase(passphrase, "what was typed").encode("utf-8") + b"\n"
    descriptor = os.memfd_create("passphrase", os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, data)
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _is_right(path: str, keyring: str) -> bool:
    """Whether a secret key has that passphrase; what cannot be told now is told by what needs the key."""
    from guerillabackup.signature import Keyring

    try:
        with Keyring(keyring, passphrase_file=path) as keys:
            return keys.is_passphrase_of_any()
    except ConfigError:
        return True


def _ask(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise click.Abort from None
