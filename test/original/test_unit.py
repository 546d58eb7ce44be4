"""Units written for the original, made and run by our generator from definition files."""

import json
import os
import textwrap

import pytest

from guerillabackup.config import execute_definition, load_configuration
from guerillabackup.element import SourceUrl
from guerillabackup.errors import CancelledError, GuerillaBackupError
from guerillabackup.events import ElementStored, SourceFailed, SourceStarted
from guerillabackup.generator.interface import SchedulableGeneratorUnitInterface, UnitContext
from guerillabackup.generator.loader import UnitFile
from guerillabackup.generator.service import run_once
from guerillabackup.original.loading import adapt, load_any_unit_class
from guerillabackup.original.storage import DefaultFileStorage
from guerillabackup.original.unit import ConfigContext
from guerillabackup.osfile import PRIVATE
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.storage.registry import open_storage

UNIT = """
import hashlib
import json
import os
import guerillabackup
import guerillabackup.Utils
from guerillabackup.BackupElementMetainfo import BackupElementMetainfo
from guerillabackup.UnitRunConditions import IUnitRunCondition

class Note(guerillabackup.SchedulableGeneratorUnitInterface):
    def __init__(self, unitName, configContext):
        self.unitName, self.configContext = unitName, configContext
        self.persistencyDirFd = guerillabackup.openPersistencyFile(
            configContext, os.path.join('generators', unitName),
            os.O_DIRECTORY|os.O_RDONLY|os.O_CREAT|os.O_EXCL|os.O_NOFOLLOW|os.O_NOCTTY, 0o600)
        self.last = None
        if 'state.current' in guerillabackup.listDirAt(self.persistencyDirFd):
            handle = guerillabackup.secureOpenAt(self.persistencyDirFd, 'state.current')
            self.last = bytes.fromhex(json.loads(guerillabackup.readFully(handle)))
            os.close(handle)

    def getNextInvocationTime(self):
        return 0

    def invokeUnit(self, sink):
        for name in self.configContext['Names']:
            self.store(sink, name)
        return 7

    def store(self, sink, name):
        handle = sink.getSinkHandle('/note/' + name)
        element = guerillabackup.OSProcessPipelineElement('/bin/echo', ['/bin/echo', name])
        pipeline = [element] + guerillabackup.getDefaultDownstreamPipeline(self.configContext, None)
        instances = guerillabackup.instantiateTransformationPipeline(
            pipeline, None, handle.getSinkStream(), doStartFlag=True)
        guerillabackup.runTransformationPipeline(instances)
        digest = instances[-1].getDigestData()
        uuid = hashlib.sha512((self.last or b'') + digest).digest()
        info = {'BackupType': 'full', 'Timestamp': 1700000000, 'DataUuid': uuid,
                'StorageFileChecksumSha512': digest}
        if self.last is not None:
            info['Predecessor'] = self.last
        handle.close(BackupElementMetainfo(info))
        self.last = uuid
        state = guerillabackup.secureOpenAt(
            self.persistencyDirFd, 'state.current',
            fileOpenFlags=os.O_WRONLY|os.O_CREAT|os.O_TRUNC, fileCreateMode=0o600)
        os.write(state, json.dumps(uuid.hex()).encode())
        os.close(state)

backupGeneratorUnitClass = Note
"""
FAILING = "raise ValueError('the disk is on fire')"


class Host:
    """A configuration with units, each a definition and an overlay."""

    def __init__(self, base):
        self.base = base
        (base / "conf" / "units").mkdir(parents=True, mode=0o700)
        (base / "data").mkdir(mode=0o700)
        self.write_config()

    def write_config(self, *lines):
        text = [
            f"GeneralPersistencyBaseDir = '{self.base}/state'",
            f"DefaultFileSystemSinkBaseDir = '{self.base}/data'",
            *lines,
        ]
        (self.base / "conf" / "config").write_text("\n".join(text) + "\n")

    def add_unit(self, name, definition=UNIT, overlay="Names = ['one']"):
        (self.base / "conf" / "units" / name).write_text(definition)
        (self.base / "conf" / "units" / f"{name}.config").write_text(overlay)

    def run(self, **arguments):
        return run_once(load_configuration(str(self.base / "conf")), **arguments)

    def elements(self):
        storage = DefaultFileStorage(str(self.base / "data"), {})
        return list(iter(storage.queryBackupDataElements(None).getNextElement, None))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def in_invoke(code):
    """A unit that stores its first note and does that before the second."""
    return UNIT.replace(
        "    def store(self, sink, name):\n        handle = sink.getSinkHandle('/note/' + name)\n",
        "    def store(self, sink, name):\n        handle = sink.getSinkHandle('/note/' + name)\n"
        + textwrap.indent(f"if name == 'two': {code}\n", "        "),
    )


def test_its_elements_are_stored_and_its_chain_goes_on_in_the_next_run(host):
    host.add_unit("Note", overlay="Names = ['one']")
    events = []
    outcome = host.run(listen=events.append)
    assert outcome.errors == ()
    [[source]] = [unit.sources for unit in outcome.units]
    assert source.source_url == SourceUrl("/note/one")
    assert [type(event) for event in events] == [SourceStarted, ElementStored]
    host.run()
    first, second = sorted(host.elements(), key=lambda element: len(element.getElementId()))
    assert second.getMetaData().predecessor == first.getMetaData().data_uuid
    assert json.loads((host.base / "state/generators/Note/state.current").read_text())


def test_elements_of_a_configurations_own_class_are_used_by_it(host):
    host.write_config(
        "class Rot13(guerillabackup.TransformationPipelineElementInterface):",
        "    def getExecutionInstance(self, upstreamProcessOutput):",
        "        return guerillabackup.OSProcessPipelineElement('/usr/bin/tr', ['tr', 'a-z', 'n-za-m'])"
        ".getExecutionInstance(upstreamProcessOutput)",
        "GeneralDefaultCompressionElement = Rot13()",
    )
    host.add_unit("Note")
    assert host.run().errors == ()
    [element] = host.elements()
    descriptor = element.getDataStream()
    assert os.read(descriptor, 99) == b"bar\n"
    os.close(descriptor)


@pytest.mark.parametrize(
    "definition", [UNIT, "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"]
)
def test_an_element_that_derives_from_nothing_is_used_by_units_of_either_kind(host, definition):
    (host.base / "tree").mkdir()
    host.write_config(
        "class Counting:",
        "    used = 0",
        "    def getExecutionInstance(self, upstreamProcessOutput):",
        "        Counting.used += 1",
        "        return guerillabackup.OSProcessPipelineElement('/bin/gzip', ['/bin/gzip', '-c'])"
        ".getExecutionInstance(upstreamProcessOutput)",
        "GeneralDefaultCompressionElement = Counting()",
    )
    sources = {"/host/tree": {"Root": f"{host.base}/tree", "FullBackupTiming": [600, 600, None, None]}}
    host.add_unit("Note", definition, f"Names = ['one']\nTarBackupUnitConfigList = {sources!r}")
    configuration = load_configuration(str(host.base / "conf"))
    assert run_once(configuration).errors == ()
    assert configuration["GeneralDefaultCompressionElement"].used > 0
    for element in host.elements():
        descriptor = element.getDataStream()
        assert os.read(descriptor, 2) == b"\x1f\x8b"
        os.close(descriptor)


def test_what_fails_concerns_the_source_that_was_being_made_and_its_unit(host):
    host.add_unit("Bad", in_invoke(FAILING), "Names = ['one', 'two', 'three']")
    host.add_unit("Good", overlay="Names = ['four']")
    events = []
    outcome = host.run(listen=events.append)
    bad, good = outcome.units
    assert [(str(source.source_url), source.error is None) for source in bad.sources] == [
        ("/note/one", True),
        ("/note/two", False),
    ]
    assert [str(error) for error in outcome.errors] == ["ValueError: the disk is on fire"]
    assert [event.source_url.text for event in events if isinstance(event, SourceFailed)] == ["/note/two"]
    assert good.error is None
    assert sorted(element.getSourceUrl() for element in host.elements()) == ["/note/four", "/note/one"]
    assert not list((host.base / "data").rglob("tmp*"))


@pytest.mark.parametrize("place", ["__init__", "getNextInvocationTime"])
def test_a_unit_that_raises_elsewhere_fails_alone(host, place):
    host.add_unit("Bad", f"{UNIT}\nclass Bad(Note):\n    def {place}(self, *arguments):\n        {FAILING}\n"
                  "backupGeneratorUnitClass = Bad\n")  # fmt: skip
    host.add_unit("Good", overlay="Names = ['four']")
    bad, good = host.run().units
    assert "the disk is on fire" in str(bad.error)
    assert good.error is None


def test_a_unit_need_not_derive_from_the_interface(host):
    host.add_unit("Note", UNIT.replace("Note(guerillabackup.SchedulableGeneratorUnitInterface)", "Note"))
    assert host.run().errors == ()
    assert len(host.elements()) == 1


def test_in_test_mode_it_is_run_and_nothing_is_stored(host):
    host.write_config("GeneralDebugTestModeFlag = True")
    host.add_unit("Note", in_invoke("raise Exception('not reached')"), "Names = ['one', 'two']")
    outcome = host.run()
    assert outcome.errors == ()
    [source] = outcome.units[0].sources
    assert (source.source_url.text, source.element_id) == ("/note/one", None)
    assert host.elements() == []


def make_context(tmp_path, now, **changes):
    configuration = {
        "GeneralPersistencyBaseDir": str(tmp_path / "state"),
        "GeneralDefaultEncryptionElement": None,
        "Own": None,
        "Names": ["one"],
    }
    values = {
        "unit_name": "Note",
        "configuration": configuration,
        "config_directory": "/conf",
        "state_directory": str(tmp_path / "state" / "generators" / "Note"),
        "storage": MemoryStorage(),
        "clock": lambda: now[0],
        **changes,
    }
    return UnitContext(**values)


@pytest.fixture
def make_class(tmp_path):
    """Makes the class of ours for a definition."""

    def make(definition=UNIT):
        (tmp_path / "Note").write_text(definition)
        return adapt(execute_definition(str(tmp_path / "Note"))["backupGeneratorUnitClass"])

    return make


def test_the_seconds_it_hands_back_are_waited(make_class, tmp_path):
    now = [1000.0]
    unit = make_class()("Note", make_context(tmp_path, now))
    assert unit.get_next_invocation_time() == 0
    assert [outcome.error for outcome in unit.invoke_unit()] == [None]
    assert unit.get_next_invocation_time() == 7
    now[0] += 8
    assert unit.get_next_invocation_time() == 0
    unit.close()
    unit.close()


def test_after_a_failure_it_is_made_anew(make_class, tmp_path):
    now = [1000.0]
    definition = in_invoke(FAILING).replace("def invokeUnit(self, sink):", "def invokeUnit(self, sink):\n"
        "        self.configContext['Names'].append('two')")  # fmt: skip
    unit = make_class(definition)("Note", make_context(tmp_path, now))
    assert [outcome.error is None for outcome in unit.invoke_unit()] == [True, False]
    assert 40 < unit.get_next_invocation_time() <= 60
    now[0] += 61
    assert unit.get_next_invocation_time() == 0
    unit.invoke_unit()
    assert 80 < unit.get_next_invocation_time() <= 120
    unit.close()


def test_what_it_began_and_did_not_store_is_a_failure_also_when_it_says_nothing(make_class, tmp_path):
    store = "            self.store(sink, name)\n"
    silent = f"            try:\n    {store}            except Exception:\n                pass\n"
    definition = UNIT.replace(store, silent).replace("/bin/echo", "/bin/false")
    unit = make_class(definition)("Note", make_context(tmp_path, [0.0]))
    [outcome] = unit.invoke_unit()
    assert outcome.source_url == SourceUrl("/note/one")
    assert "unit Note began an element and did not store it" in str(outcome.error)
    unit.close()


def test_its_pipelines_end_when_the_generator_does(make_class, tmp_path):
    definition = UNIT.replace("'/bin/echo', ['/bin/echo', name]", "'/bin/sleep', ['/bin/sleep', '600']")
    unit = make_class(definition)("Note", make_context(tmp_path, [0.0], cancelled=lambda: True))
    [outcome] = unit.invoke_unit()
    assert isinstance(outcome.error, CancelledError)
    unit.close()


def test_a_source_of_another_unit_is_refused(make_class, tmp_path):
    foreign = {SourceUrl("/note/one"): "Other"}
    unit = make_class()("Note", make_context(tmp_path, [0.0], foreign_sources=foreign))
    with pytest.raises(GuerillaBackupError, match="one of unit Other"):
        unit.invoke_unit()
    unit.close()


def test_a_time_that_is_no_number_is_refused(make_class, tmp_path):
    unit = make_class(UNIT.replace("return 0", "return 'soon'"))("Note", make_context(tmp_path, [0.0]))
    with pytest.raises(GuerillaBackupError, match="due in 'soon'"):
        unit.get_next_invocation_time()
    unit.close()


def test_in_test_mode_it_is_due_again_in_an_hour(make_class, tmp_path):
    unit = make_class()("Note", make_context(tmp_path, [0.0], test_mode=True))
    assert [outcome.error for outcome in unit.invoke_unit()] == [None]
    assert unit.get_next_invocation_time() == 3600
    unit.close()


def test_what_is_stored_is_signed_as_all_elements_are(make_class, tmp_path):
    context = make_context(
        tmp_path,
        [0.0],
        sign=lambda metainfo, url: metainfo.replace(SourceUrl=url.text, MetaDataSignature=b"signed"),
        data_signature=lambda descriptor: b"data of %d bytes" % os.fstat(descriptor).st_size,
        storage=open_storage(str(tmp_path / "data"), PRIVATE, create=True),
    )
    unit = make_class()("Note", context)
    unit.invoke_unit()
    unit.close()
    [element] = context.storage.query_backup_data_elements()
    metainfo = element.get_metadata()
    assert metainfo.source_url == SourceUrl("/note/one")
    assert metainfo.metadata_signature == b"signed"
    assert metainfo.storage_file_signature == b"data of 4 bytes"


def test_what_is_not_set_is_not_in_its_configuration(tmp_path):
    context = ConfigContext(make_context(tmp_path, [0.0]))
    assert context.get("GeneralDefaultEncryptionElement", "fallback") == "fallback"
    assert context["Own"] is None
    assert context.keys_directory == "/conf/keys"
    assert context["guerillabackup"].__name__ == "guerillabackup"


def test_a_link_to_the_originals_unit_is_ours_and_a_definition_of_its_kind_is_adapted(tmp_path):
    (tmp_path / "Tar").symlink_to("/none/lib/guerillabackup/TarBackupUnit.py")
    (tmp_path / "Note").write_text(UNIT)
    classes = [load_any_unit_class(UnitFile(name, str(tmp_path / name), None)) for name in ("Tar", "Note")]
    assert [found.__name__ for found in classes] == ["TarBackupUnit", "Note"]
    assert all(issubclass(found, SchedulableGeneratorUnitInterface) for found in classes)


def test_other_classes_stay_what_they_are():
    class Ours(SchedulableGeneratorUnitInterface):
        pass

    assert adapt(Ours) is Ours
    assert adapt("text") == "text"
