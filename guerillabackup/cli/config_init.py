"""Makes a configuration directory from the template, without changing anything that is there.

Touches: os, shlex, socket.
"""

import os
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.cli.unit_hint import UNIT, activation_command
from guerillabackup.command_option import config_dir_option
from guerillabackup.config import KEYS_DIRECTORY, LIBRARY_DIRECTORY, MAIN_FILE, UNITS_DIRECTORY
from guerillabackup.errors import ConfigError
from guerillabackup.signature import KeyPurpose, Keyring

TEMPLATE = "config.template"
UNITS_README = "Readme.txt"
TEMPLATE_SUFFIX = ".template"


@dataclass(frozen=True, slots=True)
class InitPlan:
    """What will be made: directories from the top down, the main file's path and its settings.

    `next_commands` are lines for a shell; those that only say something are comments.
    """

    directories: tuple[str, ...]
    path: str
    keys_directory: str
    units_directory: str
    settings: Mapping[str, str]
    signing_key: bool
    private_keyring: str | None
    next_commands: tuple[str, ...]


def find_template(name: str = TEMPLATE) -> str:
    """Where a template is: in the installed package, or in the checkout the package is in."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    places = (
        os.path.join(package, "templates"),
        os.path.join(os.path.dirname(package), "etc", "guerillabackup"),
    )
    for place in places:
        path = os.path.join(place, name)
        if os.path.isfile(path):
            return path
    raise ConfigError(f"{name} is not installed: it is neither in {' nor in '.join(places)}")


def plan(
    config_directory: str,
    base: str | None,
    encryption_keys: tuple[str, ...],
    private_keyring: str | None,
    signing_key: bool,
) -> InitPlan:
    """What to make; ConfigError when a configuration is there already. Changes nothing."""
    path = os.path.join(config_directory, MAIN_FILE)
    if os.path.lexists(path):
        raise ConfigError(f"{path} is there already; nothing was changed")
    data, state, run = "/var/lib/guerillabackup/data", "/var/lib/guerillabackup/state", "/run/guerillabackup"
    if base is not None:
        data, state, run = (os.path.join(os.path.abspath(base), name) for name in ("data", "state", "run"))
    settings = {
        "GeneralPersistencyBaseDir": repr(state),
        "GeneralRuntimeDataDir": repr(run),
        "DefaultFileSystemSinkBaseDir": repr(data),
    }
    if encryption_keys:
        names: Any = encryption_keys[0] if len(encryption_keys) == 1 else list(encryption_keys)
        settings["GeneralDefaultEncryptionElement"] = (
            f"guerillabackup.GpgEncryptionPipelineElement({names!r})"
        )
    if private_keyring is not None:
        settings["GeneralPrivateKeyringDir"] = repr(os.path.abspath(private_keyring))
    own = [
        os.path.join(config_directory, name) for name in (KEYS_DIRECTORY, LIBRARY_DIRECTORY, UNITS_DIRECTORY)
    ]
    return InitPlan(
        directories=(config_directory, *own, data, state, run),
        path=path,
        keys_directory=own[0],
        units_directory=own[2],
        settings=settings,
        signing_key=signing_key,
        private_keyring=private_keyring,
        next_commands=tuple(_next_commands(config_directory, encryption_keys, private_keyring, signing_key)),
    )


def make_configuration(steps: InitPlan) -> str | None:
    """Carry the plan out, the main file last; hands back the new signing key's fingerprint, if one was made.

    Raises ConfigError; what was made until then stays, and the next try goes on with it.
    """
    text = _read_template(TEMPLATE)
    unit_files = {name: _read_template(os.path.join(UNITS_DIRECTORY, name)) for name in _unit_files()}
    try:
        for directory in steps.directories:
            os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be made: {error.strerror}") from error
    for name, content in unit_files.items():
        path = os.path.join(steps.units_directory, name)
        if not os.path.lexists(path):
            _write_new(path, content)
    settings = dict(steps.settings)
    fingerprint = None
    if steps.signing_key:
        fingerprint = _make_signing_key(steps.keys_directory)
        settings["GeneralSigningKey"] = repr(fingerprint)
        if steps.private_keyring is not None:
            with Keyring(steps.keys_directory) as keyring:
                public = keyring.export_key(fingerprint)
            add_to_private(steps.private_keyring, public)
    _write_new(steps.path, fill_template(text, settings))
    return fingerprint


def add_to_private(private_keyring: str | None, public_key: str) -> str | None:
    """Let a private keyring that is there verify with a public key; hands back the keyring, if it was."""
    if private_keyring is None or not os.path.isdir(private_keyring):
        return None
    with Keyring(private_keyring) as keyring:
        keyring.import_key(public_key)
    return private_keyring


def fill_template(text: str, settings: Mapping[str, str]) -> str:
    """The template with its lines `NAME = …`, commented out or not, set to these expressions."""
    for name, expression in settings.items():
        line = f"{name} = {expression}"
        pattern = rf"^(# )?{name} = .*$"
        text, count = re.subn(pattern, line.replace("\\", r"\\"), text, count=1, flags=re.MULTILINE)
        if count == 0:
            text += f"\n{line}\n"
    return text


def signing_key_name() -> str:
    """What the key is called that signs this host's elements."""
    return f"{socket.gethostname()} signing"


def _read_template(name: str) -> str:
    with open(find_template(name), encoding="utf-8") as stream:
        return stream.read()


def _unit_files() -> list[str]:
    """The names of what is put into the folder of the units: templates for each, and what to do with them."""
    directory = os.path.dirname(find_template(os.path.join(UNITS_DIRECTORY, UNITS_README)))
    names = sorted(name for name in os.listdir(directory) if name.endswith(TEMPLATE_SUFFIX))
    return [UNITS_README, *names]


def _make_signing_key(keys_directory: str) -> str:
    name = signing_key_name()
    with Keyring(keys_directory) as keyring:
        for key in keyring.list_keys(secret=True):
            if name in key.names and key.unusable_reason(KeyPurpose.SIGN, key.created) is None:
                return key.fingerprint  # left by a try that did not come to its end
        return keyring.create_key(name, KeyPurpose.SIGN).fingerprint


def _write_new(path: str, text: str) -> None:
    """Write a file whole under a name that is not taken yet."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, path)
        finally:
            os.unlink(temporary)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _next_commands(
    config_directory: str, encryption_keys: tuple[str, ...], private_keyring: str | None, signing_key: bool
) -> Iterator[str]:
    option = config_dir_option(config_directory)
    private = private_keyring or os.path.join(os.path.expanduser("~"), "guerillabackup-private")
    for name in encryption_keys or ("backup",):
        yield (
            f"guerillabackup key create {shlex.quote(name)} --purpose encrypt"
            f" --private-keyring {shlex.quote(private)}{option}  # or: key import FILE"
        )
    if not encryption_keys:
        yield f"# in {os.path.join(config_directory, MAIN_FILE)} set:"
        yield "#   GeneralDefaultEncryptionElement = guerillabackup.GpgEncryptionPipelineElement('backup')"
    settings = os.path.join(config_directory, UNITS_DIRECTORY, f"{UNIT}.config")
    yield activation_command(config_directory)
    yield f'"${{EDITOR:-vi}}" {shlex.quote(settings)}  # what to back up, and when'
    yield f"guerillabackup config check{option}"
    yield f"guerillabackup generator run --once{option}"
    if signing_key and private_keyring is None:
        name = shlex.quote(signing_key_name())
        yield "# a private keyring that was made before this gets the key that verifies with:"
        yield (
            f"#   guerillabackup key export {name}{option}"
            f" | guerillabackup key import -{option} --private-keyring {shlex.quote(private)}"
        )
    yield f"# keep elsewhere, off this host: PRIVATE KEYRING {private}: without it nothing can be restored"
    if signing_key:
        name = shlex.quote(signing_key_name())
        yield f"# and the key that verifies: guerillabackup key export {name}{option}"
