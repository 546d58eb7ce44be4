"""Commands in messages can be pasted as they are."""

from guerillabackup.element import SourceUrl
from guerillabackup.restore.commands import NO_OPTIONS, Commands

SOURCE = SourceUrl("/host/etc")


def test_without_options_a_command_is_short():
    assert NO_OPTIONS.verify(SOURCE) == "guerillabackup element verify /host/etc"
    assert Commands("/etc/guerillabackup", None) == NO_OPTIONS


def test_what_was_named_is_named_again_and_quoted():
    commands = Commands("/etc/my gb", "/mnt/a b", ("/k", "/it's"))
    ending = "--storage '/mnt/a b' --config-dir '/etc/my gb'"
    assert commands.list_long(SOURCE) == f"guerillabackup element list /host/etc --long {ending}"
    keyrings = "--private-keyring /k --private-keyring '/it'\"'\"'s'"
    assert commands.verify(SOURCE) == f"guerillabackup element verify /host/etc {keyrings} {ending}"
    assert commands.import_words == " --config-dir '/etc/my gb'"
