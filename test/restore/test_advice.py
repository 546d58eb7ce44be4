"""What people are told to do."""

import pytest

from guerillabackup.restore.advice import MAX_DOUBTS, advise_on_keys, shorten, suggest_close


@pytest.mark.parametrize(
    ("total", "protected", "passphrase_file", "said", "unsaid"),
    [
        (0, 0, None, "/k holds no secret key at all", "--passphrase-file"),
        (2, 0, "/p", "it is the wrong keyring", "--passphrase-file"),
        (2, 1, None, "name the file with it by --passphrase-file", "wrong"),
        (2, 2, "/p", "its secret keys have a passphrase: either /p has not theirs", "no secret key"),
        (2, 1, "/proc/1/fd/3", "some of its secret keys have a passphrase: either what was given", "/proc"),
    ],
)
def test_each_state_of_a_keyring_has_its_own_advice(total, protected, passphrase_file, said, unsaid):
    advice = advise_on_keys("/k", total, protected, passphrase_file)
    assert said in advice
    assert unsaid not in advice
    assert "--private-keyring" in advice


def test_many_texts_are_counted_after_the_first():
    assert shorten(["a"] * MAX_DOUBTS) == ["a"] * MAX_DOUBTS
    assert shorten(["a"] * (MAX_DOUBTS + 3))[MAX_DOUBTS:] == ["and 3 more of the kind"]


def test_names_that_are_like_one_that_is_not_there_are_suggested():
    assert suggest_close("/host/ect", ["/host/etc", "zzz", "/host/ect"]) == "; did you mean /host/etc"
    assert suggest_close("/host/etc", ["zzz"]) == ""
