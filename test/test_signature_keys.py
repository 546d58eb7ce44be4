"""What a new key may be called, and what gpg is told of it."""

import pytest

from guerillabackup.errors import ConfigError
from guerillabackup.signature_keys import check_new_key, generation_text
from guerillabackup.signature_values import KeyPurpose


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a" * 201])
def test_a_name_that_gpg_could_take_for_more_is_refused(name):
    with pytest.raises(ConfigError, match="printable characters"):
        check_new_key(name, "ed25519")


def test_an_algorithm_that_is_not_known_is_told_with_those_that_are():
    with pytest.raises(ConfigError, match="'dsa' is none of ed25519, rsa4096"):
        check_new_key("name", "dsa")


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa4096"])
def test_only_a_key_for_encryption_has_a_subkey(algorithm):
    texts = {purpose: generation_text("name", purpose, algorithm, None, None) for purpose in KeyPurpose}
    assert "Subkey-Type" not in texts[KeyPurpose.SIGN]
    assert "Subkey-Usage: encrypt" in texts[KeyPurpose.ENCRYPT]
    assert all("%no-protection" in text for text in texts.values())
