"""The names configuration files and units use, as attributes and modules of the package."""

import importlib
import inspect
import subprocess
import sys

import pytest

import guerillabackup
from guerillabackup.element import BackupElementMetainfo
from guerillabackup.original.names import FUNCTIONS, MODULES, NAMES, provide_modules
from guerillabackup.storage.default_file import DefaultFileStorage

IN_MODULES = [
    ("BackupElementMetainfo", "BackupElementMetainfo"),
    ("DefaultFileStorage", "DefaultFileStorage"),
    ("DefaultFileSystemSink", "DefaultFileSystemSink"),
    ("DigestPipelineElement", "DigestPipelineElement"),
    ("GpgEncryptionPipelineElement", "GpgEncryptionPipelineElement"),
    ("OSProcessPipelineElement", "OSProcessPipelineElement"),
    ("OSProcessPipelineElement", "OSProcessPipelineExecutionInstance"),
    ("Transfer", "ReceiverStoreDataTransferPolicy"),
    ("Transfer", "ReceiverTransferPolicy"),
    ("Transfer", "SenderMoveDataTransferPolicy"),
    ("Transfer", "SenderTransferPolicy"),
    ("TransformationProcessOutputStream", "TransformationProcessOutputStream"),
    ("UnitRunConditions", "AverageLoadLimitCondition"),
    ("UnitRunConditions", "IUnitRunCondition"),
    ("UnitRunConditions", "LogicalAndCondition"),
    ("UnitRunConditions", "MinPowerOnTimeCondition"),
    ("Utils", "jsonLoadWithComments"),
    ("Utils", "parseTimeDef"),
]
METADATA = {"BackupType": "full", "Timestamp": 1}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stands_for_a_class(name):
    assert inspect.isclass(getattr(guerillabackup, name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_or_constant_is_there_under_its_name(name):
    assert callable(getattr(guerillabackup, name)) == name[0].islower()


@pytest.mark.parametrize(("module", "name"), IN_MODULES)
def test_what_the_originals_modules_hold_can_be_imported(module, name):
    provide_modules()
    assert callable(getattr(importlib.import_module(f"guerillabackup.{module}"), name))


def test_importing_a_module_of_the_original_leaves_the_attribute_of_its_name_a_class():
    program = (
        "from guerillabackup.original.names import provide_modules; provide_modules()\n"
        "import guerillabackup.OSProcessPipelineElement, guerillabackup.Utils\n"
        "from guerillabackup.DefaultFileSystemSink import DefaultFileSystemSink\n"
        "assert isinstance(guerillabackup.OSProcessPipelineElement, type)\n"
        "assert guerillabackup.DefaultFileSystemSink is DefaultFileSystemSink\n"
        "assert guerillabackup.Utils.parseTimeDef('1M') == 60\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_module_can_be_asked_for_what_it_lacks():
    provide_modules()
    for name in MODULES:
        module = sys.modules[f"guerillabackup.{name}"]
        assert not hasattr(module, "xyzzy")
        assert not hasattr(module, "__xyzzy__")


def test_a_name_of_a_module_and_a_class_stands_for_both():
    both = guerillabackup.BackupElementMetainfo
    metainfo = both(METADATA)
    assert type(metainfo) is BackupElementMetainfo
    assert isinstance(metainfo, both)
    assert both.unserialize(metainfo.serialize()).timestamp == 1
    assert both.BackupElementMetainfo is BackupElementMetainfo

    class Own(guerillabackup.DefaultFileStorage):
        pass

    assert issubclass(Own, DefaultFileStorage)


def test_what_is_no_name_is_an_attribute_error_with_a_suggestion():
    with pytest.raises(AttributeError, match="did you mean DigestPipelineElement"):
        _ = guerillabackup.DigestPipelinElement
    with pytest.raises(AttributeError, match="did you mean secureOpenAt"):
        _ = guerillabackup.secureOpenat
    with pytest.raises(AttributeError, match="did you mean SenderMoveDataTransferPolicy"):
        _ = guerillabackup.Transfer.SenderMoveTransferPolicy
    assert not hasattr(guerillabackup, "Xyzzy")
