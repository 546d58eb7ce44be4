"""Rules about signatures that outlive a reload."""

from contextlib import closing

from guerillabackup.signature import KeyPurpose, Keyring
from guerillabackup.transfer.checks import NO_SIGNATURES
from guerillabackup.transfer.key_shelf import KeyShelf


def test_rules_are_those_of_before_until_a_key_or_a_setting_changes(tmp_path):
    directory = tmp_path / "keys"
    with closing(KeyShelf()) as shelf:
        assert shelf.read(str(directory), None, requires_signatures=None) is NO_SIGNATURES
        directory.mkdir(mode=0o700)
        with Keyring(str(directory)) as keyring:
            keyring.create_key("alpha", KeyPurpose.SIGN)
        first = shelf.read(str(directory), None, requires_signatures=None)
        assert shelf.read(str(directory), None, requires_signatures=None) is first
        assert shelf.read(str(directory), None, requires_signatures=True) is not first
