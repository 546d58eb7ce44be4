"""The names configuration files use, as attributes of the package."""

import inspect

import pytest

import guerillabackup
from guerillabackup.original.names import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stands_for_a_class_of_ours(name):
    assert inspect.isclass(getattr(guerillabackup, name))


def test_what_is_no_name_is_an_attribute_error_with_a_suggestion():
    with pytest.raises(AttributeError, match="did you mean DigestPipelineElement"):
        _ = guerillabackup.DigestPipelinElement
    assert not hasattr(guerillabackup, "Xyzzy")
