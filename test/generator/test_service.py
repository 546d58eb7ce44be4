"""A whole run of the generator from its configuration: what fails is one line, and the rest is stored."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest
from sample_source import gpg_home
from tar_bench import ALWAYS, follow_chain, members, read_elements

from guerillabackup.config import load_configuration
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, KeyUnusableError, StateError
from guerillabackup.events import UnitFailed, UnitSkipped
from guerillabackup.generator.selection import NothingToRunError
from guerillabackup.generator.service import run_once, run_service
from guerillabackup.generator.state import StateBusyError, StateDirectory
from guerillabackup.signature import KeyPurpose, Keyring
from guerillabackup.storage.default_file import DefaultFileStorage

DEFINITION = "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"


class Host:
    """A configuration directory, a tree, a spool, and state."""

    def __init__(self, base, home=None):
        self.base = base
        self.conf = home or base / "conf"
        self.spool, self.state, self.tree = base / "spool", base / "state", base / "tree"
        (self.conf / "units").mkdir(parents=True, mode=0o700)
        self.tree.mkdir()
        self.spool.mkdir(mode=0o700)
        (self.tree / "file").write_text("content")
        self.write_config()

    def write_config(self, *lines):
        self.write(
            "config",
            f"GeneralPersistencyBaseDir = {str(self.state)!r}",
            f"GeneralRuntimeDataDir = {str(self.base / 'run')!r}",
            f"DefaultFileSystemSinkBaseDir = {str(self.spool)!r}",
            *lines,
        )

    def write(self, name, *lines):
        (self.conf / name).write_text("\n".join(lines) + "\n")

    def add_unit(self, name, sources, *lines, definition=DEFINITION):
        self.write(f"units/{name}", definition)
        self.write(f"units/{name}.config", *lines, f"TarBackupUnitConfigList = {sources!r}")

    def source(self, **settings):
        return {"Root": str(self.tree), "FullBackupTiming": ALWAYS, **settings}

    def run(self, *unit_names, **arguments):
        return run_once(load_configuration(str(self.conf)), unit_names=unit_names, **arguments)

    def stored(self):
        storage = DefaultFileStorage(str(self.spool))
        try:
            urls = [str(element.get_source_url()) for element in storage.query_backup_data_elements()]
            return sorted(url for url in urls if not url.endswith(".members"))
        finally:
            storage.close()


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_all_units_are_run_in_the_order_of_their_names(host):
    for name in ("B", "A"):
        host.add_unit(name, {f"/host/{name.lower()}": host.source()})
    outcome = host.run()
    assert [unit.unit_name for unit in outcome.units] == ["A", "B"]
    assert outcome.errors == ()
    assert host.stored() == ["/host/a", "/host/b"]


def test_only_the_units_that_are_named_are_run(host):
    for name in ("A", "B"):
        host.add_unit(name, {f"/host/{name.lower()}": host.source()})
    host.run("B")
    assert host.stored() == ["/host/b"]
    with pytest.raises(ConfigError, match="there is no unit 'C'; there are: A, B"):
        host.run("C")


def test_what_is_wrong_with_one_unit_is_one_line_and_the_others_are_stored(host):
    host.add_unit("Good", {"/host/good": host.source()})
    host.add_unit("Syntax", {}, definition="class = 1")
    host.add_unit("Overlay", {}, "x = = 1")
    host.add_unit("Misspelt", {}, "GeneralDebugTestModeFlg = True")
    host.add_unit("Truncated", {"/host/truncated": host.source()})
    host.add_unit("Raising", {}, definition="def backupGeneratorUnitClass(): pass")
    host.add_unit("Exiting", {}, definition="raise SystemExit(0)")
    host.write("units/NoList", DEFINITION)
    state = host.state / "generators" / "Truncated" / "state.current"
    state.parent.mkdir(parents=True, mode=0o700)
    state.write_text('{"/host/truncated": [17000')
    events = []
    outcome = host.run(listen=events.append)
    assert host.stored() == ["/host/good"]
    errors = {unit.unit_name: str(unit.error) for unit in outcome.units if unit.error is not None}
    assert "units/Syntax:1: syntax error" in errors["Syntax"]
    assert "units/Overlay.config:1: syntax error" in errors["Overlay"]
    assert "did you mean GeneralDebugTestModeFlag" in errors["Misspelt"]
    assert "state.current is damaged" in errors["Truncated"]
    assert "remove it to let every source" in errors["Truncated"]
    assert "not a class of" in errors["Raising"]
    assert "ends the program" in errors["Exiting"]
    assert "start with: TarBackupUnitConfigList = {}" in errors["NoList"]
    assert len(errors) == 7
    assert all("\n" not in text for text in errors.values())
    assert len([event for event in events if isinstance(event, UnitFailed)]) == 7


def test_what_is_wrong_with_one_source_is_one_line_and_the_others_are_stored(host):
    host.add_unit(
        "Tar",
        {
            "/host/misspelt": host.source(Rot="/"),
            "/host/missing": host.source(Root=str(host.base / "none")),
            "/host/good": host.source(),
            "/host/one/index": host.source(),
            "/host/one-index": host.source(),
        },
    )
    outcome = host.run()
    assert host.stored() == ["/host/good"]
    errors = {
        str(source.source_url): str(source.error) for source in outcome.units[0].sources if source.error
    }
    assert "unknown setting 'Rot'; is Root meant" in errors["/host/misspelt"]
    assert "is it mounted" in errors["/host/missing"]
    assert "unit of its own" in errors["/host/one/index"]
    assert len(errors) == 4
    assert all("\n" not in text for text in errors.values())


def test_a_unit_whose_own_code_raises_does_not_stop_the_others(host):
    definition = (
        "import guerillabackup\n"
        "class Unit(guerillabackup.SchedulableGeneratorUnitInterface):\n"
        "    def __init__(self, name, context): pass\n"
        "    def get_next_invocation_time(self): return 0\n"
        "    def invoke_unit(self): {}\n"
        "    def close(self): pass\n"
        "backupGeneratorUnitClass = Unit\n"
    )
    host.write("units/A1", definition.format("raise RuntimeError('of its own')"))
    host.write("units/A2", definition.format("raise SystemExit(7)"))
    host.write("units/A3", definition.format("return []"))
    host.write("units/A4", definition.format("raise GeneratorExit"))
    host.write("units/A5", "class End(BaseException): pass\nraise End('at once')\n")
    host.add_unit("Tar", {"/host/good": host.source()})
    outcome = host.run()
    assert [str(unit.error) for unit in outcome.units[:2]] == ["RuntimeError: of its own", "SystemExit: 7"]
    assert [unit.error is None for unit in outcome.units[2:]] == [True, False, False, True]
    assert host.stored() == ["/host/good"]


def test_nothing_is_run_before_it_is_due(host):
    host.add_unit("Tar", {"/host/a": host.source(FullBackupTiming=[3600, 3600, None, None])})
    now = 1_800_000_000.0
    for seconds, count in ((0, 1), (3599, 1), (3600, 2)):
        assert host.run(clock=lambda seconds=seconds: now + seconds).errors == ()
        assert len(host.stored()) == count


def test_a_source_that_failed_is_tried_again_by_the_next_run(host):
    host.add_unit("Tar", {"/host/a": host.source()})
    (host.tree).rename(host.base / "away")
    assert len(host.run().errors) == 1
    (host.base / "away").rename(host.tree)
    assert host.run().errors == ()


def test_files_that_are_no_units_are_warnings(host):
    host.add_unit("Tar", {"/host/a": host.source()})
    host.write("units/not-a-unit", "")
    outcome = host.run()
    assert len(outcome.warnings) == 1
    assert outcome.errors == ()


def test_a_second_generator_does_not_work_with_the_same_unit(host):
    host.add_unit("Tar", {"/host/a": host.source()})
    host.add_unit("Untouched", {"/host/b": host.source()})
    with StateDirectory(str(host.state / "generators" / "Tar")):
        outcome = host.run()
        assert [type(unit.error) for unit in host.run("Tar").units] == [StateBusyError]
    assert outcome.errors == ()
    assert f"process {os.getpid()}" in outcome.units[0].skipped
    assert host.stored() == ["/host/b"]
    assert host.run().errors == ()


def test_a_configuration_without_directories_is_refused_with_the_lines_to_add(host):
    host.write("config", "")
    with pytest.raises(ConfigError) as error:
        host.run()
    assert "GeneralPersistencyBaseDir = " in str(error.value)
    assert "DefaultFileSystemSinkBaseDir = " in str(error.value)


def test_a_sink_of_another_class_is_refused(host):
    host.add_unit("Tar", {"/host/a": host.source()})
    host.write_config("class Sink: pass", "GeneratorSinkClass = Sink")
    with pytest.raises(ConfigError, match="GeneratorSinkClass"):
        host.run()
    host.write_config("GeneratorSinkClass = guerillabackup.DefaultFileSystemSink")
    assert host.run().errors == ()


def test_test_mode_of_an_overlay_holds_for_its_unit_alone(host):
    host.add_unit("Dry", {"/host/dry": host.source()}, "GeneralDebugTestModeFlag = True")
    host.add_unit("Tar", {"/host/a": host.source()})
    assert host.run().errors == ()
    assert host.stored() == ["/host/a"]
    assert os.listdir(host.state / "generators" / "Dry") == []


def test_the_state_directory_of_an_overlay_holds_for_its_unit(host):
    host.add_unit(
        "Tar", {"/host/a": host.source()}, f"GeneralPersistencyBaseDir = {str(host.base / 'own')!r}"
    )
    host.run()
    assert (host.base / "own" / "generators" / "Tar" / "state.current").exists()


def test_a_damaged_state_file_does_not_stop_its_unit_for_ever(host):
    host.add_unit("Tar", {"/host/a": host.source()})
    host.run()
    path = host.state / "generators" / "Tar" / "state.current"
    path.write_bytes(path.read_bytes()[:20])
    assert [isinstance(error, StateError) for error in host.run().errors] == [True]
    path.unlink()
    assert host.run().errors == ()


def test_without_any_unit_or_source_there_is_an_error(host):
    host.write("units/Tar.config", "")
    with pytest.raises(NothingToRunError) as error:
        host.run()
    assert "no unit is enabled in" in str(error.value)
    assert "there is no unit Tar for it" in str(error.value)
    host.add_unit("Tar", {})
    with pytest.raises(NothingToRunError, match="unit Tar has no source"):
        host.run()


def test_a_source_of_two_units_is_backed_up_by_the_first_alone(host):
    for name in ("A", "B"):
        host.add_unit(name, {"/host/one": host.source()})
    for names in ((), ("B",)):
        outcome = host.run(*names)
        assert [str(error) for error in outcome.errors] == [
            "source /host/one is one of unit A and one of unit B: take it from one of them"
        ]
    assert host.stored() == ["/host/one"]


# What is asked for.

SELDOM = [10**7, 10**8, None, 0]


def types(host, url):
    storage = DefaultFileStorage(str(host.spool))
    try:
        return [each["BackupType"] for each in follow_chain(read_elements(storage, url))]
    finally:
        storage.close()


def test_full_backups_are_made_when_they_are_asked_for(host):
    settings = {"FullBackupTiming": SELDOM, "IncBackupTiming": SELDOM}
    host.add_unit("A", {"/host/a": host.source(**settings), "/host/b": host.source(**settings)})
    host.add_unit("B", {"/host/c": host.source(**settings)})
    host.run()
    assert host.run().units[0].sources == ()
    host.run(full=True)
    host.run("A", full=True, source_urls=(SourceUrl("/host/b"),))
    assert [types(host, f"/host/{name}") for name in "abc"] == [["full"] * 2, ["full"] * 3, ["full"] * 2]


def test_a_source_is_backed_up_when_it_is_asked_for_due_or_not(host):
    settings = {"FullBackupTiming": SELDOM, "IncBackupTiming": SELDOM}
    host.add_unit("A", {"/host/a": host.source(**settings), "/host/b": host.source(FullBackupTiming=SELDOM)})
    host.run()
    host.run(source_urls=(SourceUrl("/host/a"),))
    host.run(
        source_urls=(
            SourceUrl("/host/a"),
            SourceUrl("/host/b"),
        )
    )
    assert types(host, "/host/a") == ["full", "inc", "inc"]
    assert types(host, "/host/b") == ["full", "full"]


def test_what_is_wrong_with_sources_that_were_not_asked_for_is_not_told(host):
    host.add_unit("A", {"/host/a": host.source(), "/host/bad": {}})
    assert host.run(source_urls=(SourceUrl("/host/a"),)).errors == ()
    assert len(host.run(source_urls=(SourceUrl("/host/bad"),)).errors) == 1


# Keys.


@pytest.fixture(scope="module")
def keyring():
    """A gpg home with a key that encrypts, one that signs, and one that encrypted until it expired."""
    home = tempfile.mkdtemp(prefix="gb", dir="/tmp")
    command = ["gpg", "--batch", "--homedir", home, "--passphrase", "", "--pinentry-mode", "loopback"]
    past = ["--faked-system-time", "20200101T000000"]
    for options in (
        ["--quick-gen-key", "good@example.org", "future-default", "default", "never"],
        ["--quick-gen-key", "sign@example.org", "ed25519", "sign", "never"],
        [*past, "--quick-gen-key", "old@example.org", "future-default", "default", "1d"],
    ):
        subprocess.run([*command, *options], check=True, capture_output=True)
    yield home
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def host_with_keys(tmp_path, keyring):
    base = tempfile.mkdtemp(prefix="gb", dir="/tmp")
    conf = type(tmp_path)(base)
    host = Host(tmp_path, conf)
    subprocess.run(["gpgconf", "--homedir", keyring, "--kill", "all"], check=True)
    shutil.copytree(keyring, conf / "keys", ignore=shutil.ignore_patterns("S.*"))
    (conf / "keys").chmod(0o700)
    yield host
    subprocess.run(["gpgconf", "--homedir", str(conf / "keys"), "--kill", "all"], check=False)
    shutil.rmtree(conf, ignore_errors=True)


def decrypt(home, data):
    command = ["gpg", "--batch", "--quiet", "--homedir", home, "--decrypt"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("key", ["nobody@example.org", "old@example.org"])
def test_a_key_that_is_missing_or_expired_fails_its_source_alone(host_with_keys, key):
    host = host_with_keys
    host.add_unit(
        "Tar",
        {
            "/host/bad": host.source(EncryptionKey=key),
            "/host/good": host.source(EncryptionKey="good@example.org"),
        },
    )
    outcome = host.run()
    (error,) = outcome.errors
    assert isinstance(error, KeyUnusableError)
    assert key in str(error)
    assert outcome.only_keys_failed
    assert host.stored() == ["/host/good"]
    storage = DefaultFileStorage(str(host.spool))
    assert list(storage.find_leftovers()) == []
    storage.close()


def test_a_part_of_the_names_of_keys_fails_its_source_and_nothing_is_encrypted_for_any(host_with_keys):
    host = host_with_keys
    with Keyring(str(host.conf / "keys")) as keyring:
        keyring.create_key("not-so-good@example.org", KeyPurpose.ENCRYPT)
    host.add_unit(
        "Tar",
        {
            "/host/a": host.source(EncryptionKey="example.org"),
            "/host/b": host.source(EncryptionKey="good@example.org"),
        },
    )
    (error,) = host.run().errors
    assert isinstance(error, KeyUnusableError)
    assert "is 'good@example.org' or 'not-so-good@example.org' or" in str(error)
    assert host.stored() == ["/host/b"]


NEVER = ("class Never:", "    def evaluate(self): return False", "DefaultUnitRunCondition = Never()")
RAISING = ("class Bad:", "    def evaluate(self): return 1 / 0", "DefaultUnitRunCondition = Bad()")


def test_a_unit_whose_condition_does_not_hold_is_skipped_and_stays_due(host):
    host.write_config(*NEVER)
    host.add_unit("Tar", {"/host/a": host.source()})
    events = []
    outcome = host.run(listen=events.append)
    (unit,) = outcome.units
    assert (unit.skipped, unit.sources, outcome.errors) == ("Never does not hold", (), ())
    assert events == [UnitSkipped("Tar", "Never does not hold")]
    assert host.stored() == []
    host.write_config()
    assert host.run().units[0].skipped is None
    assert host.stored() == ["/host/a"]


def test_a_unit_that_is_not_due_is_not_asked_for_its_condition(host):
    host.add_unit("Tar", {"/host/a": host.source(FullBackupTiming=[3600, 3600, None, None])})
    host.run()
    host.write_config(*RAISING)
    outcome = host.run()
    assert (outcome.units[0].skipped, outcome.errors) == (None, ())


@pytest.mark.parametrize("named", [{"unit_names": ("Tar",)}, {"source_urls": (SourceUrl("/host/a"),)}])
def test_what_is_named_is_run_whatever_its_condition_says(host, named):
    host.write_config(*NEVER)
    host.add_unit("Tar", {"/host/a": host.source()})
    configuration = load_configuration(str(host.conf))
    assert run_once(configuration, **named).errors == ()
    assert host.stored() == ["/host/a"]


def test_the_condition_of_an_overlay_is_that_of_its_unit_alone(host):
    host.write_config("DefaultUnitRunCondition = guerillabackup.MinPowerOnTimeCondition(10**10)")
    host.add_unit("Always", {"/host/always": host.source()}, "DefaultUnitRunCondition = None")
    host.add_unit("Never", {"/host/never": host.source()}, *NEVER)
    host.add_unit("Tar", {"/host/tar": host.source()})
    always, never, tar = host.run().units
    assert (always.skipped, never.skipped) == (None, "Never does not hold")
    assert "the machine has been on for" in tar.skipped
    assert host.stored() == ["/host/always"]


def test_a_condition_that_raises_is_an_error_of_its_unit_alone(host):
    host.add_unit("Bad", {"/host/bad": host.source()}, *RAISING)
    host.add_unit("Good", {"/host/good": host.source()})
    (error,) = host.run().errors
    assert str(error) == "run condition Bad cannot be evaluated: ZeroDivisionError: division by zero"
    assert host.stored() == ["/host/good"]


@pytest.mark.parametrize("key", ["nobody@example.org", "old@example.org"])
def test_without_a_usable_signing_key_nothing_is_begun(host_with_keys, key):
    host = host_with_keys
    host.write_config(f"GeneralSigningKey = {key!r}")
    host.add_unit("Tar", {"/host/a": host.source(PreBackupCommand=["/bin/touch", str(host.base / "begun")])})
    outcome = host.run()
    (error,) = outcome.errors
    assert isinstance(error, KeyUnusableError)
    assert key in str(error)
    assert outcome.only_keys_failed
    assert not (host.base / "begun").exists()


def test_an_unusable_signing_key_is_told_before_anything_is_due(host_with_keys):
    host = host_with_keys
    host.add_unit("Tar", {"/host/a": host.source(FullBackupTiming=[3600, 3600, None, None])})
    host.run()
    host.write_config("GeneralSigningKey = 'nobody@example.org'")
    with pytest.raises(KeyUnusableError, match="nobody"):
        host.run()


def test_a_key_that_is_found_unusable_while_tar_walks_leaves_nothing_behind(host_with_keys):
    host = host_with_keys
    descriptors = len(os.listdir("/proc/self/fd"))
    host.add_unit("Tar", {"/host/a": host.source(EncryptionKey="nobody@example.org")})
    (error,) = host.run().errors
    assert isinstance(error, KeyUnusableError)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert host.stored() == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_elements_and_their_lists_are_encrypted_signed_and_chained(host_with_keys):
    host = host_with_keys
    host.write_config(
        "GeneralSigningKey = 'sign@example.org'",
        "GeneralSignData = True",
        "GeneralDefaultCompressionElement = guerillabackup.CompressionPipelineElement('gzip')",
        "GeneralDefaultEncryptionElement = guerillabackup.GpgEncryptionPipelineElement('good@example.org')",
    )
    host.add_unit("Tar", {"/host/a": host.source(IncBackupTiming=ALWAYS)})
    for _ in range(2):
        assert host.run().errors == ()
    storage = DefaultFileStorage(str(host.spool))
    home = str(host.conf / "keys")
    elements = [follow_chain(read_elements(storage, url)) for url in ("/host/a", "/host/a.members")]
    storage.close()
    for element, companion in zip(*elements, strict=True):
        assert companion["MembersOf"] == element["DataUuid"]
        assert "MetaDataSignature" in element
        assert "MetaDataSignature" in companion
        assert "StorageFileSignature" in element
        assert "StorageFileSignature" in companion
        assert companion["SourceUrl"] == "/host/a.members"
    archive = subprocess.run(
        ["gzip", "-dc"], input=decrypt(home, elements[0][0]["data"]), capture_output=True, check=True
    )
    listing = subprocess.run(
        ["gzip", "-dc"], input=decrypt(home, elements[1][0]["data"]), capture_output=True, check=True
    )
    names = [line.split('"')[1] for line in listing.stdout.decode().splitlines()]
    assert names == members({"data": archive.stdout}) == ["./", "./file"]


# The command.


def command(host, *arguments):
    program = [sys.executable, "-c", "from guerillabackup.cli.main import main; main()"]
    return subprocess.run(
        [*program, "generator", "run", "--once", "--config-dir", str(host.conf), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_ends_with_0_when_all_went_well_and_when_nothing_was_due(host):
    host.add_unit("Tar", {"/host/a": host.source(FullBackupTiming=[3600, 3600, None, None])})
    done, idle = command(host), command(host)
    assert (done.returncode, idle.returncode) == (0, 0)
    assert done.stdout.startswith("stored /host/")
    assert idle.stdout.startswith("nothing was due; next: unit ")


def test_the_command_ends_with_3_when_a_source_failed_and_says_why_in_one_line(host):
    host.add_unit("Tar", {"/host/a": host.source(), "/host/b": host.source(Root="/no/root")})
    done = command(host)
    assert done.returncode == 3
    assert "stored /host/" in done.stdout
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert errors == [
        "guerillabackup: error: source /host/b: no backup: root /no/root is not a directory: is it mounted?"
    ]


def test_the_command_ends_with_1_when_the_configuration_cannot_be_used(host):
    host.write("config", "x = = 1")
    assert command(host).returncode == 1


def test_the_command_ends_with_5_when_only_a_key_failed(host_with_keys):
    host_with_keys.add_unit("Tar", {"/host/a": host_with_keys.source(EncryptionKey="nobody@example.org")})
    assert command(host_with_keys).returncode == 5
    host_with_keys.write_config("GeneralSigningKey = 'nobody@example.org'")
    assert command(host_with_keys).returncode == 5


def test_the_command_writes_one_json_document(host):
    host.add_unit("Tar", {"/host/a": host.source()})
    host.add_unit("Wrong", {}, "x = = 1")
    done = command(host, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 3
    assert [source["source"] for source in document["sources"]] == ["/host/a"]
    assert [unit["unit"] for unit in document["failed_units"]] == ["Wrong"]


def test_a_generator_that_is_told_to_end_runs_the_post_command(host):
    fifo = host.base / "fifo"
    os.mkfifo(fifo)
    note = host.base / "post"
    host.add_unit(
        "Tar",
        {
            "/host/a": host.source(
                PreBackupCommand=["/bin/sh", "-c", f"echo begun >{fifo}; exec sleep 600"],
                PostBackupCommand=["/bin/touch", str(note)],
            )
        },
    )
    program = [sys.executable, "-c", "from guerillabackup.cli.main import main; main()"]
    arguments = ["generator", "run", "--once", "--config-dir", str(host.conf)]
    with subprocess.Popen([*program, *arguments], stderr=subprocess.DEVNULL) as process:
        assert fifo.read_text() == "begun\n"
        process.terminate()
        process.wait(timeout=60)
    assert process.returncode == 130
    assert note.exists()
    assert host.stored() == []


def test_two_generators_at_once_make_one_chain(host):
    host.add_unit("Tar", {"/host/a": host.source(IncBackupTiming=ALWAYS)})
    program = [sys.executable, "-c", "from guerillabackup.cli.main import main; main()"]
    arguments = ["generator", "run", "--once", "--config-dir", str(host.conf)]
    processes = [subprocess.Popen([*program, *arguments], stderr=subprocess.DEVNULL) for _ in range(4)]
    statuses = {process.wait(timeout=60) for process in processes}
    assert statuses <= {0, 3}
    assert 0 in statuses
    assert host.run().errors == ()
    storage = DefaultFileStorage(str(host.spool))
    assert len(follow_chain(read_elements(storage, "/host/a"))) >= 2
    storage.close()


def revoke(home, name, reason):
    """As somebody does by hand who answers gpg's questions."""
    command = ["gpg", "--homedir", home, "--no-tty", "--command-fd", "0", "--gen-revoke", name]
    answers = f"y\n{reason}\nnobody minds\n\ny\n".encode()
    certificate = subprocess.run(command, input=answers, check=True, capture_output=True).stdout
    subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--import"], input=certificate, check=True, capture_output=True
    )


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, ["full", "inc", "inc", "inc"]),
        (0, ["full", "inc", "full", "inc"]),
        (1, ["full", "inc", "full", "inc"]),
        (2, ["full", "inc", "inc", "inc"]),
    ],
    ids=["only another key", "no reason", "compromised", "superseded"],
)
def test_a_chain_by_a_key_that_may_be_in_wrong_hands_is_not_gone_on_with(host, caplog, reason, expected):
    host.add_unit("Tar", {"/host/tree": host.source(FullBackupTiming=SELDOM, IncBackupTiming=ALWAYS)})
    now = time.time()
    with gpg_home(("old", "sign"), ("new", "sign")) as home:
        (host.conf / "keys").symlink_to(home)
        for step, key in enumerate(("old", "old", "new", "new")):
            if step == 2 and reason is not None:
                revoke(home, "old", reason)
            host.write_config(f"GeneralSigningKey = {key!r}")
            assert host.run(clock=lambda step=step: now + 10 * step).errors == ()
    storage = DefaultFileStorage(str(host.spool))
    for url in ("/host/tree", "/host/tree.members"):
        assert [element["BackupType"] for element in follow_chain(read_elements(storage, url))] == expected
    storage.close()
    warnings = [text for text in caplog.messages if "in place of an incremental one" in text]
    assert len(warnings) == expected.count("full") - 1
    assert all("a restore refuses the chain" in text and "by which it is signed" in text for text in warnings)


@pytest.mark.parametrize("place", ["", "state"])
def test_a_state_in_the_storage_is_refused_before_anything_is_written_there(host, place):
    state = host.spool / place
    state.mkdir(exist_ok=True)
    host.write_config(f"GeneralPersistencyBaseDir = {str(state)!r}")
    host.add_unit("Tar", {"/host/tree": host.source()})
    for start in (host.run, lambda: run_service(str(host.conf))):
        with pytest.raises(ConfigError, match="which is GeneralPersistencyBaseDir"):
            start()
    assert list(state.iterdir()) == []
