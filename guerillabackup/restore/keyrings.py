"""The private keyring of a restore: opened when it is needed, and what to say where it does not decrypt.

Touches: os.
"""

import os

from guerillabackup.errors import ConfigError, KeyUnusableError
from guerillabackup.restore.advice import NAME_THE_KEYRING, advise_on_keys
from guerillabackup.signature_home import GpgHome, why_no_keyring, why_not_readable


class PrivateKeyrings:
    """The directory with the keys that decrypt, and the passphrase of those that have one.

    `ended_keys` are the remarks on keys that decrypted and have expired or were revoked, each once.
    """

    def __init__(self, directory: str | None, passphrase_file: str | None) -> None:
        self.directory = directory
        self.passphrase_file = passphrase_file
        self._home: GpgHome | None = None
        self._ended_keys: dict[str, None] = {}

    @property
    def ended_keys(self) -> tuple[str, ...]:
        return tuple(self._ended_keys)

    @property
    def called(self) -> str | None:
        """What messages call it."""
        return self.directory

    def note_ended_key(self, text: str) -> None:
        """Keep a remark for `ended_keys`."""
        self._ended_keys[text] = None

    def open(self) -> str:
        """A gpg home with the keys that decrypt; raises KeyUnusableError where there are none."""
        if self.directory is None:
            raise KeyUnusableError("it is encrypted, and no private keyring is known")
        if (denied := why_not_readable(self.directory)) is not None:
            raise KeyUnusableError(denied)
        if not os.path.lexists(self.directory):
            raise KeyUnusableError(
                f"the private keyring {self.directory} is not there, and only the one with the key "
                "that it was encrypted for can help, no new one"
            )
        if self._home is None:
            try:
                home = GpgHome(self.directory)
            except ConfigError as error:
                raise KeyUnusableError(*error.problems) from error
            self._home = home
            own = os.path.join(home.path, os.path.basename(home.keyring_path))
            os.symlink(home.keyring_path, own)
            home.start_agent()
        return self._home.path

    def close(self) -> None:
        """End what `open` started; called again it does nothing."""
        if self._home is not None:
            self._home.close()

    def advise(self) -> str:
        """What to do where none of the keys decrypts."""
        if self._home is None or self.directory is None:
            return NAME_THE_KEYRING
        total, protected = len(self._home.list_secret_keys()), len(self._home.list_protected_keys())
        return advise_on_keys(self.directory, total, protected, self.passphrase_file)


def check_named(directory: str) -> None:
    """Raises KeyUnusableError for a directory that was named as a private keyring and can be none."""
    if (denied := why_not_readable(directory)) is not None:
        raise KeyUnusableError(denied)
    if not os.path.isdir(directory):
        raise KeyUnusableError(f"the private keyring {directory} is not there, or is no directory")
    if (problem := why_no_keyring(directory)) is not None:
        raise KeyUnusableError(problem)
