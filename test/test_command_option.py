"""What a printed command needs to be about the same configuration."""

import shlex

import pytest

from guerillabackup.command_option import DEFAULT_CONFIG_DIRECTORY, config_dir_option


def test_the_default_directory_needs_no_option():
    assert config_dir_option(DEFAULT_CONFIG_DIRECTORY) == ""


@pytest.mark.parametrize("directory", ["/srv/conf", "/srv/my conf", "/srv/it's $HOME"])
def test_any_other_is_one_argument_of_a_shell(directory):
    assert shlex.split("command" + config_dir_option(directory)) == ["command", "--config-dir", directory]
