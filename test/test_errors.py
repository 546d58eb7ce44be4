"""The tree of exceptions: whose fault, and what may be tried again."""

import pytest

import guerillabackup.errors as errors


def exception_classes() -> list[type[BaseException]]:
    values = vars(errors).values()
    return [value for value in values if isinstance(value, type) and issubclass(value, BaseException)]


@pytest.mark.parametrize("kind", exception_classes())
def test_every_exception_is_in_the_one_tree(kind):
    assert issubclass(kind, errors.GuerillaBackupError)


@pytest.mark.parametrize("kind", exception_classes())
def test_every_exception_keeps_its_message(kind):
    assert str(kind("file 'a' of 3 bytes, limit 2")) == "file 'a' of 3 bytes, limit 2"


@pytest.mark.parametrize(
    "fault",
    [errors.ConfigError, errors.RemoteProtocolError, errors.StorageError, errors.IntegrityError],
)
def test_nobody_shares_the_blame_for_one_error(fault):
    faults = {errors.ConfigError, errors.RemoteProtocolError, errors.StorageError, errors.IntegrityError}
    for kind in exception_classes():
        if issubclass(kind, fault):
            assert not issubclass(kind, tuple(faults - {fault}))


def test_only_lack_of_space_a_held_lock_and_a_lost_connection_pass_by_themselves():
    temporary = {kind for kind in exception_classes() if issubclass(kind, errors.TemporaryError)}
    assert temporary == {
        errors.TemporaryError,
        errors.StorageFullError,
        errors.ElementLockedError,
        errors.ConnectionLostError,
    }


def test_a_configuration_error_holds_every_problem_and_says_them_all():
    error = errors.ConfigError("key A is missing", "key B is negative")
    assert error.problems == ("key A is missing", "key B is negative")
    assert str(error) == "key A is missing; key B is negative"


def test_a_configuration_error_may_have_one_problem_only():
    assert errors.ConfigError("key A is missing").problems == ("key A is missing",)
