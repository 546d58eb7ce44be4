"""The command group `element`: each command is there, and a listing imports only what it needs."""

import subprocess
import sys

import click

from guerillabackup.cli.element_group import element


def test_every_command_of_the_group_is_there_and_no_other():
    context = click.Context(element)
    assert element.list_commands(context) == ["cat", "delete", "latest", "list", "show", "verify"]
    for name in element.list_commands(context):
        command = element.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert element.get_command(context, "other") is None


def test_a_listing_imports_nothing_of_keyrings_and_pipelines():
    program = (
        "import sys; from guerillabackup.cli.element_group import element as group; import click;"
        "group.get_command(click.Context(group), 'list');"
        "print([n for n in sys.modules if n in ('gnupg', 'subprocess', 'guerillabackup.restore.service')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
