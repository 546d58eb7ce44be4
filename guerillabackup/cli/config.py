"""`guerillabackup config`: check, show and make the configuration.

It joins the configuration, its overlays and the keyring.
"""

import difflib
from typing import Any

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.parameters import CONFIGURATION_KEY, UNIT, private_keyring_option
from guerillabackup.cli.paths import DIRECTORY
from guerillabackup.errors import ConfigError

MAX_PADDING = 40
"""Columns up to which a value leaves room for longer ones: a key or a dict may take many lines."""


@click.group()
def config() -> None:
    """Check, show and make the configuration.

    \b
    Example:
      guerillabackup config init
      guerillabackup config check
    """


@config.command()
@shared(example="guerillabackup config check\nguerillabackup config check --config-dir ./etc --json")
def check(invocation: Invocation) -> ExitStatus:
    """Say everything that is wrong with the configuration.

    Looks at the main file, the overlays of the units, the programs that are needed and the keys that are
    named. Ends with 1 when something is wrong, with 5 when it is only keys.
    """
    from guerillabackup.cli.config_check import check_configuration

    outcome = check_configuration(invocation.config_directory)
    for warning in outcome.warnings:
        invocation.warn(warning)
    outcome.raise_problems()
    if invocation.as_json:
        invocation.write_record({"ok": True, "units": outcome.units, "warnings": outcome.warnings})
    else:
        units = ", ".join(outcome.units) or "none"
        invocation.say(f"the configuration in {invocation.config_directory} is in order; units: {units}")
    return ExitStatus.OK


@config.command()
@click.argument("key", type=CONFIGURATION_KEY, required=False)
@click.option("--unit", metavar="NAME", type=UNIT, help="Show what holds for this unit.")
@shared(
    example="guerillabackup config show\nguerillabackup config show DefaultFileSystemSinkBaseDir\n"
    "guerillabackup config show --unit TarBackupUnit"
)
def show(invocation: Invocation, key: str | None, unit: str | None) -> None:
    """Show the values in effect, and where each comes from."""
    from guerillabackup.cli.config_check import describe_value, overlay_of

    configuration = invocation.configuration()
    if unit is not None:
        configuration = overlay_of(configuration, unit)
    names = sorted({*configuration.known_keys, *(name for name in configuration if name[0].isupper())})
    if key is not None and key not in names:
        near = difflib.get_close_matches(key, names, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{key} is neither known nor set{hint}")

    def record(name: str) -> dict[str, Any]:
        if name not in configuration:
            return {"key": name, "value": None, "origin": "not set"}
        value = describe_value(configuration[name])
        if name.endswith("Mode") and isinstance(value, int) and not invocation.as_json:
            value = oct(value)
        return {"key": name, "value": value, "origin": configuration.origin(name)}

    if key is not None:
        invocation.write_record(record(key))
    else:
        invocation.write_records(
            [record(name) for name in names], ["key", "value", "origin"], padding=MAX_PADDING
        )


@config.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--base",
    metavar="DIR",
    type=DIRECTORY,
    help="Put data, state and run below DIR instead of /var/lib and /run.",
)
@click.option(
    "--encryption-key",
    "encryption_keys",
    metavar="NAME",
    multiple=True,
    help="Encrypt for this key; may be given several times.",
)
@private_keyring_option("Where the keys that decrypt are, if here at all.")
@click.option("--signing-key/--no-signing-key", default=True, help="Make a key that signs. Default: yes.")
@shared(
    example="guerillabackup config init --encryption-key backup\n"
    "guerillabackup config init --config-dir ./etc --base ./var --yes"
)
def init(
    invocation: Invocation,
    yes: bool,
    base: str | None,
    encryption_keys: tuple[str, ...],
    private_keyring: str | None,
    signing_key: bool,
) -> None:
    """Make a configuration directory with a commented configuration.

    Nothing that is there is changed: with a configuration in place it says so and ends with 1. A key that
    signs every element is made in the directory's keyring.
    """
    from guerillabackup.cli.config_init import make_configuration, plan

    steps = plan(invocation.config_directory, base, encryption_keys, private_keyring, signing_key)
    if not yes:
        _ask(invocation, [*steps.directories, steps.path])
    fingerprint = make_configuration(steps)
    if invocation.as_json:
        invocation.write_record(
            {
                "config": steps.path,
                "directories": list(steps.directories),
                "signing_key": fingerprint,
                "next": list(steps.next_commands),
            }
        )
        return
    invocation.say(f"made {steps.path}")
    if fingerprint is not None:
        invocation.say(f"made the signing key {fingerprint} in {steps.keys_directory}")
    if not encryption_keys:
        invocation.warn("elements will not be encrypted: GeneralDefaultEncryptionElement is not set")
    invocation.say("next:")
    for command in steps.next_commands:
        invocation.say(f"  {command}")


def _ask(invocation: Invocation, paths: list[str]) -> None:
    import sys

    if invocation.as_json or not sys.stdin.isatty():
        raise click.UsageError("nobody is here to be asked: say --yes")
    invocation.say("this will be made, where it is not there yet:")
    for path in paths:
        invocation.say(f"  {path}")
    click.confirm("go on?", default=True, abort=True)
