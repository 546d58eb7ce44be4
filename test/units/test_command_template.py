"""The template of the unit of commands names every setting, and its examples are right when uncommented."""

import re

from config_template import ConfigTemplate

from guerillabackup.units.command_source import (
    CONFIG_KEY,
    SETTING_NAMES,
    find_exposed_secrets,
    parse_sources,
)

TEMPLATE = ConfigTemplate("CommandBackupUnit", CONFIG_KEY)


def test_as_it_is_it_backs_up_nothing(tmp_path):
    assert TEMPLATE.execute(tmp_path, TEMPLATE.text) == {}


def test_every_setting_is_explained_and_no_other():
    assert re.findall(r"^# ([A-Z][A-Za-z]+) +[A-Z]", TEMPLATE.text.split("\n#\n")[2], flags=re.M) == [
        *SETTING_NAMES
    ]


def test_its_examples_are_sources_as_they_should_be(tmp_path):
    sources = parse_sources(TEMPLATE.execute(tmp_path, TEMPLATE.uncommented))
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
