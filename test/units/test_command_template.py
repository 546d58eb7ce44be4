"""The template of the unit of commands names every setting, and its examples are right when uncommented."""

import re

import pytest

from guerillabackup.config import load_configuration
from guerillabackup.units.command_source import (
    CONFIG_KEY,
    SETTING_NAMES,
    find_exposed_secrets,
    parse_sources,
)


@pytest.fixture
def template(request):
    path = request.config.rootpath / "etc" / "guerillabackup" / "units" / "CommandBackupUnit.config.template"
    return path.read_text()


def uncomment(template):
    """The examples are the commented lines that assign, and those up to the closing brace."""
    return re.sub(
        rf"^# {CONFIG_KEY}\[.*?^# \}}$",
        lambda match: re.sub(r"^# ", "", match.group(), flags=re.M),
        template,
        flags=re.M | re.S,
    )


def execute(tmp_path, text):
    directory = tmp_path / "conf"
    directory.mkdir(mode=0o700)
    (directory / "config").write_text("")
    (directory / "Command.config").write_text(text)
    return load_configuration(str(directory)).overlay(str(directory / "Command.config"))[CONFIG_KEY]


def test_as_it_is_it_backs_up_nothing(tmp_path, template):
    assert execute(tmp_path, template) == {}


def test_every_setting_is_explained_and_no_other(template):
    assert re.findall(r"^# ([A-Z][A-Za-z]+) +[A-Z]", template.split("\n#\n")[2], flags=re.M) == [
        *SETTING_NAMES
    ]


def test_its_examples_are_sources_as_they_should_be(tmp_path, template):
    sources = parse_sources(execute(tmp_path, uncomment(template)))
    assert [str(source.source_url).split("/")[2] for source in sources] == [
        "postgresql",
        "postgresql",
        "mysql",
        "sqlite",
        "ldap",
        "container",
    ]
    assert all(source.restore_command for source in sources)
    assert [text for source in sources for text in find_exposed_secrets(source)] == []
