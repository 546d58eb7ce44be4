"""The private keyrings of a restore: opened when they are needed, and what to say where none decrypts.

Touches: os.
"""

import os
from collections.abc import Sequence

from guerillabackup.errors import ConfigError, KeyUnusableError
from guerillabackup.restore.advice import NAME_THE_KEYRING, advise_on_keys
from guerillabackup.signature_home import GpgHome, why_no_keyring, why_not_readable


class PrivateKeyrings:
    """The directories with the keys that decrypt, and the passphrase of those that have one.

    Several are used together, as if all keys were in one. `ended_keys` are the remarks on keys that decrypted
    and have expired or were revoked, each once.
    """

    def __init__(self, directories: Sequence[str], passphrase_file: str | None) -> None:
        self.directories = tuple(directories)
        self.passphrase_file = passphrase_file
        self._homes: list[GpgHome] = []
        self._ended_keys: dict[str, None] = {}

    @property
    def ended_keys(self) -> tuple[str, ...]:
        return tuple(self._ended_keys)

    @property
    def called(self) -> str:
        """What messages call them."""
        return " or ".join(self.directories)

    @property
    def further_keyrings(self) -> list[str]:
        """The files with the public keys of all but the first, once they are open."""
        paths = [home.keyring_path for home in self._homes[1:]]
        return [path for path in paths if os.path.exists(path)]

    def note_ended_key(self, text: str) -> None:
        """Keep a remark for `ended_keys`."""
        self._ended_keys[text] = None

    def open(self) -> str:
        """A gpg home with the keys that decrypt; raises KeyUnusableError where there are none."""
        if not self.directories:
            raise KeyUnusableError("it is encrypted, and no private keyring is known")
        if not self._homes:
            for directory in self.directories:
                _check_there(directory)
            try:
                self._open_all()
            except ConfigError as error:
                self.close()
                raise KeyUnusableError(*error.problems) from error
        return self._homes[0].path

    def close(self) -> None:
        """End what `open` started; called again it does nothing."""
        while self._homes:
            self._homes.pop().close()

    def advise(self) -> str:
        """What to do where none of the keys decrypts."""
        if not self._homes:
            return NAME_THE_KEYRING
        total = sum(len(home.list_secret_keys()) for home in self._homes)
        protected = sum(len(home.list_protected_keys()) for home in self._homes)
        return advise_on_keys(self.called, total, protected, self.passphrase_file)

    def _open_all(self) -> None:
        for directory in self.directories:
            self._homes.append(GpgHome(directory))
        first, *others = self._homes
        for other in others:
            first.join(other)
        os.symlink(first.keyring_path, os.path.join(first.path, os.path.basename(first.keyring_path)))
        first.start_agent()


def check_named(directory: str) -> None:
    """Raises KeyUnusableError for a directory that was named as a private keyring and can be none."""
    if (denied := why_not_readable(directory)) is not None:
        raise KeyUnusableError(denied)
    if not os.path.isdir(directory):
        raise KeyUnusableError(f"the private keyring {directory} is not there, or is no directory")
    if (problem := why_no_keyring(directory)) is not None:
        raise KeyUnusableError(problem)


def _check_there(directory: str) -> None:
    if (denied := why_not_readable(directory)) is not None:
        raise KeyUnusableError(denied)
    if not os.path.lexists(directory):
        raise KeyUnusableError(
            f"the private keyring {directory} is not there, and only the one with the key that it was "
            "encrypted for can help, no new one"
        )
