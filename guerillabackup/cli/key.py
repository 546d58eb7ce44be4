"""`guerillabackup key`: the keys that encrypt and sign, in the configuration's keyring and in private ones.

Touches: os, sys, time.
"""

import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from guerillabackup.cli.common import Invocation, shared, write_text
from guerillabackup.cli.parameters import KEY, passphrase_file_option, private_keyring_option
from guerillabackup.cli.passphrase import ask_new_passphrase, passphrase_source
from guerillabackup.cli.paths import FILE
from guerillabackup.errors import ConfigError

if TYPE_CHECKING:
    from guerillabackup.signature import KeyInfo

_SPAN = re.compile(r"([1-9][0-9]{0,5})([ymwd])")
_DAYS = {"y": 365, "m": 30, "w": 7, "d": 1}
MAX_EXPIRY_DAYS = 100 * 365
MAX_KEY_FILE_SIZE = 1 << 20

_private_keyring = private_keyring_option(
    "The keyring with the halves that decrypt; where needed, the default is GeneralPrivateKeyringDir."
)


def _parse_span(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Seconds of a length of time such as 2y, 18m, 6w or 90d; None for `never`."""
    if value is None or value == "never":
        return None
    match = _SPAN.fullmatch(value)
    days = int(match[1]) * _DAYS[match[2]] if match else 0
    if not 0 < days <= MAX_EXPIRY_DAYS:
        raise click.BadParameter(f"{value!r} is neither 'never' nor like 2y, 18m, 6w, 90d (100y at most)")
    return days * 86400


@click.group()
def key() -> None:
    """Create, list, export and import keys.

    \b
    Example:
      guerillabackup key create backup --purpose encrypt --private-keyring /root/private
      guerillabackup key list
    """


@key.command()
@click.argument("name")
@click.option("--purpose", type=click.Choice(["sign", "encrypt"]), required=True, help="What it is for.")
@_private_keyring
@click.option("--expires", callback=_parse_span, metavar="SPAN", help="2y, 18m, 90d … Default: never.")
@click.option("--algorithm", type=click.Choice(["ed25519", "rsa4096"]), default="ed25519", show_default=True)
@click.option("--passphrase", "asks", is_flag=True, help="Ask for a passphrase for it, twice.")
@click.option(
    "--passphrase-file", metavar="FILE", type=FILE, help="File with a passphrase for it in its first line."
)
@shared(
    example="guerillabackup key create backup --purpose encrypt --private-keyring /root/keys --expires 2y\n"
    "guerillabackup key create 'myhost signing' --purpose sign"
)
def create(
    invocation: Invocation,
    name: str,
    purpose: str,
    private_keyring: str | None,
    expires: int | None,
    algorithm: str,
    asks: bool,
    passphrase_file: str | None,
) -> None:
    """Create a key pair for signing or for encryption.

    A key that signs lives in the configuration's keyring. A pair for encryption is made in a private keyring,
    and only the half that encrypts gets into the configuration's: who takes over this host reads no backup.
    The private keyring gets the public halves of the configuration's keys that sign, to verify with; also of
    a key that is made later, if GeneralPrivateKeyringDir names the keyring and it is there.
    """
    from guerillabackup.cli.config_init import add_to_private
    from guerillabackup.signature import KeyPurpose, Keyring

    if purpose == "encrypt" and private_keyring is None:
        private_keyring = _default_private_keyring(invocation)
        if private_keyring is None:
            raise click.UsageError(
                "a pair for encryption needs --private-keyring DIR for the half that decrypts, "
                "or GeneralPrivateKeyringDir in the configuration"
            )
    if purpose == "sign" and private_keyring is not None:
        raise click.UsageError("a key that signs lives in the configuration's keyring, not in a private one")
    if asks and passphrase_file is not None:
        raise click.UsageError("--passphrase and --passphrase-file exclude each other")
    keys_directory = _keys_directory(invocation)
    home = keys_directory if private_keyring is None else _private_directory(private_keyring, keys_directory)
    if asks:
        passphrase_file = ask_new_passphrase(name)
    is_new = not os.path.lexists(keys_directory)
    for directory in dict.fromkeys((keys_directory, home)):
        _make_private_directory(directory)
    if is_new:
        _tell_of_new_keyring(invocation, keys_directory)
    with Keyring(home, passphrase_file=passphrase_file) as keyring:
        made = keyring.create_key(name, KeyPurpose(purpose), algorithm=algorithm, expires_in=expires)
        public = keyring.export_key(made.fingerprint)
    signing: dict[str, str] = {}
    if home != keys_directory:
        with Keyring(keys_directory) as keyring:
            keyring.import_key(public)
            for each in keyring.list_keys():
                if KeyPurpose.SIGN in each.purposes and not each.is_revoked:
                    signing[", ".join(each.names)] = keyring.export_key(each.fingerprint)
        with Keyring(home) as keyring:
            for text in signing.values():
                keyring.import_key(text)
    else:
        try:
            private_keyring = add_to_private(_default_private_keyring(invocation), public)
        except ConfigError as error:
            invocation.warn(f"the private keyring does not get the new key to verify with: {error}")
    invocation.write_record(
        {
            **_record(made, time.time()),
            "secret_keyring": home,
            "keyring": keys_directory,
            "private_keyring": private_keyring,
            "passphrase": passphrase_file is not None,
            "verifies_with": list(signing),
        }
    )
    if signing:
        names = ", ".join(signing)
        invocation.say(f"{home} also has the public halves of the keys that sign, to verify with: {names}")
    if home != keys_directory and passphrase_file is None:
        invocation.say(
            f"the key has no passphrase: who can read {home} can read all backups; "
            "--passphrase or --passphrase-file FILE gives it one"
        )


@key.command("list")
@_private_keyring
@shared(example="guerillabackup key list\nguerillabackup key list --private-keyring /root/private --json")
def list_(invocation: Invocation, private_keyring: str | None) -> None:
    """List keys: what they are for, when they expire, whether they can be used.

    `secret` says whether the secret half is in this keyring, `passphrase` whether it takes one to use it.
    """
    from guerillabackup.signature import Keyring

    with Keyring(private_keyring or _keys_directory(invocation)) as keyring:
        passphrases = {item: keyring.has_passphrase(item) for item in keyring.list_keys()}
    now = time.time()
    columns = ["name", "purpose", "expires", "left", "state", "secret", "passphrase", "fingerprint"]
    records = [{**_record(item, now), "passphrase": has} for item, has in passphrases.items()]
    invocation.write_records(records, columns)


@key.command()
@click.argument("name", type=KEY)
@click.option("--secret", is_flag=True, help="With the secret half, from the private keyring.")
@_private_keyring
@passphrase_file_option
@click.option("--output", metavar="FILE", type=FILE, help="A new file to write to instead of stdout.")
@shared(
    example="guerillabackup key export backup > backup.asc\n"
    "guerillabackup key export backup --secret --private-keyring /root/private --output backup-secret.asc"
)
def export(
    invocation: Invocation,
    name: str,
    secret: bool,
    private_keyring: str | None,
    passphrase_file: str | None,
    output: str | None,
) -> None:
    """Write a key as text, to be imported elsewhere or to be kept."""
    from guerillabackup.signature import Keyring

    if secret and private_keyring is None:
        private_keyring = _default_private_keyring(invocation)
        if private_keyring is None:
            raise click.UsageError("--secret needs --private-keyring DIR, or GeneralPrivateKeyringDir")
    home = private_keyring or _keys_directory(invocation)
    if secret:
        passphrase_file = passphrase_source(passphrase_file, home)
    with Keyring(home, passphrase_file=passphrase_file) as keyring:
        text = keyring.export_key(name, secret=secret)
        if secret:
            _tell_of_signers(invocation, keyring.list_keys(), name)
    if output is None:
        if invocation.as_json:
            invocation.write_record({"name": name, "secret": secret, "key": text})
        else:
            write_text(text, end="")
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(output, flags, 0o600 if secret else 0o644), "w", encoding="ascii") as stream:
            stream.write(text)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from error
    if invocation.as_json:
        invocation.write_record({"name": name, "secret": secret, "output": os.path.abspath(output)})


@key.command("import")
@click.argument("file", type=FILE)
@_private_keyring
@shared(
    example="guerillabackup key import backup.asc\n"
    "guerillabackup key import backup-secret.asc --private-keyring /root/private"
)
def import_(invocation: Invocation, file: str, private_keyring: str | None) -> None:
    """Add the keys of a text FILE (- for stdin) to the keyring.

    Secret keys are taken into a private keyring only. A revocation certificate revokes its key.
    """
    from guerillabackup.signature import Keyring

    text = _read_key_file(file)
    keys_directory = _keys_directory(invocation)
    home = keys_directory if private_keyring is None else _private_directory(private_keyring, keys_directory)
    is_new = not os.path.lexists(home)
    _make_private_directory(home)
    if is_new and home == keys_directory:
        _tell_of_new_keyring(invocation, home)
    with Keyring(home) as keyring:
        revoked = {item.fingerprint for item in keyring.list_keys() if item.is_revoked}
        keys = keyring.import_key(text, secret=private_keyring is not None)
    now = time.time()
    columns = ["name", "purpose", "expires", "state", "secret", "fingerprint"]
    invocation.write_records([_record(item, now) for item in keys], columns)
    for item in keys:
        if item.is_revoked:
            when = "was revoked already" if item.fingerprint in revoked else "is revoked now"
            invocation.say(f"key {', '.join(item.names)} ({item.fingerprint}) {when} in {home}")


def _tell_of_signers(invocation: Invocation, keys: "list[KeyInfo]", name: str) -> None:
    """Whoever keeps that file alone can decrypt, and verify nothing."""
    from guerillabackup.signature import KeyPurpose

    signers = [
        item
        for item in keys
        if KeyPurpose.SIGN in item.purposes
        and KeyPurpose.ENCRYPT not in item.purposes
        and name not in (*item.names, item.fingerprint)
    ]
    known = ", ".join(name for item in signers for name in item.names)
    invocation.warn(
        f"what was exported is the key {name} alone; elements are verified with others, which are not in it: "
        + (known or "the keys that sign on the hosts that are backed up")
        + "; write those to files as well, with: guerillabackup key export NAME"
    )


def _keys_directory(invocation: Invocation) -> str:
    return os.path.join(invocation.config_directory, "keys")


def _tell_of_new_keyring(invocation: Invocation, home: str) -> None:
    """A keyring where no configuration is may well be one in the wrong place."""
    if not os.path.lexists(os.path.join(invocation.config_directory, "config")):
        invocation.warn(
            f"there is no configuration in {invocation.config_directory}: the key goes into the new keyring "
            f"{home}; with --private-keyring DIR or --config-dir DIR it goes elsewhere"
        )


def _default_private_keyring(invocation: Invocation) -> str | None:
    """What the configuration says, if it is there; raises ConfigError for one that is broken."""
    from guerillabackup.config import load_configuration_if_any

    configuration = load_configuration_if_any(invocation.config_directory)
    directory: str | None = configuration.get("GeneralPrivateKeyringDir")
    return directory


def _private_directory(path: str, keys_directory: str) -> str:
    """The private keyring's directory; the configuration's own keyring is none."""
    directory = os.path.abspath(path)
    if os.path.realpath(directory) == os.path.realpath(keys_directory):
        raise click.UsageError(
            f"{directory} is the configuration's keyring: the private one has to be elsewhere"
        )
    return directory


def _make_private_directory(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{error.filename or path} cannot be made: {error.strerror}") from error


def _record(key_info: "KeyInfo", now: float) -> dict[str, Any]:
    from guerillabackup.signature_values import day, time_left

    reasons = [key_info.unusable_reason(purpose, now) for purpose in key_info.purposes]
    idle = "is revoked" if key_info.is_revoked else "has no purpose"
    ends = [key_info.expiry(purpose) for purpose in key_info.purposes] or [key_info.expires]
    known = [end for end in ends if end is not None]
    end = min(known) if len(known) == len(ends) else None
    usable = None in reasons
    return {
        "name": ", ".join(key_info.names),
        "fingerprint": key_info.fingerprint,
        "purpose": [purpose.value for purpose in key_info.purposes],
        "algorithm": key_info.algorithm,
        "created": day(key_info.created),
        "expires": None if end is None else day(end),
        "days_left": None if end is None else round((end - now) / 86400),
        "left": None if end is None else time_left(end, now),
        "usable": usable,
        "state": "usable" if usable else next(iter(reasons), idle),
        "secret": key_info.has_secret,
    }


def _read_key_file(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_KEY_FILE_SIZE + 1)
        else:
            with open(path, "rb") as stream:
                data = stream.read(MAX_KEY_FILE_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_KEY_FILE_SIZE:
        raise ConfigError(f"{path} is longer than {MAX_KEY_FILE_SIZE} bytes")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a key as ASCII text (gpg --export --armor)") from error
