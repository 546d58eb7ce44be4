"""The names that configuration files and units reach as attributes of the package `guerillabackup`.

`NAMES` is their table: those of the original, and ours beside them. Each is imported only when it is used;
nothing else depends on this room. Touches: importlib.
"""

import difflib
import importlib
from collections.abc import Mapping
from types import MappingProxyType

_CONDITIONS = "guerillabackup.generator.conditions"
_ERRORS = "guerillabackup.errors"
_GENERATOR = "guerillabackup.generator.interface"
_PIPELINE = "guerillabackup.pipeline"
_STORAGE = "guerillabackup.storage"

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "CompressionPipelineElement": f"{_PIPELINE}.compression",
        "DigestPipelineElement": f"{_PIPELINE}.digest",
        "GpgEncryptionPipelineElement": f"{_PIPELINE}.gpg",
        "OSProcessPipelineElement": f"{_PIPELINE}.os_process",
        "ThreadPipelineElement": f"{_PIPELINE}.thread",
        "TransformationPipelineElementInterface": f"{_PIPELINE}.interface",
        "TransformationProcessInterface": f"{_PIPELINE}.interface",
        "TransformationProcessOutputInterface": f"{_PIPELINE}.interface",
        "SchedulableGeneratorUnitInterface": _GENERATOR,
        "UnitContext": _GENERATOR,
        "SourceOutcome": _GENERATOR,
        "AverageLoadLimitCondition": _CONDITIONS,
        "FreeSpaceCondition": _CONDITIONS,
        "LogicalAndCondition": _CONDITIONS,
        "MainsPowerCondition": _CONDITIONS,
        "MinPowerOnTimeCondition": _CONDITIONS,
        "TimeWindowCondition": _CONDITIONS,
        "UnitRunConditionInterface": _GENERATOR,
        "DefaultFileStorage": f"{_STORAGE}.default_file",
        # The original had a sink class of its own; here a storage is its own sink.
        "DefaultFileSystemSink": f"{_STORAGE}.default_file:DefaultFileStorage",
        "SinkHandleInterface": f"{_STORAGE}.interface",
        "SinkInterface": f"{_STORAGE}.interface",
        "StorageBackupDataElementInterface": f"{_STORAGE}.interface",
        "StorageInterface": f"{_STORAGE}.interface",
        "BackupElementMetainfo": "guerillabackup.element",
        "ElementId": "guerillabackup.element",
        "SourceUrl": "guerillabackup.element",
        "ConfigError": _ERRORS,
        "GuerillaBackupError": _ERRORS,
        "IntegrityError": _ERRORS,
        "KeyUnusableError": _ERRORS,
        "PipelineError": _ERRORS,
        "StateError": _ERRORS,
        "StorageError": _ERRORS,
        "TemporaryError": _ERRORS,
    }
)
"""Name -> the module it is in, with `:attribute` where it is called something else there."""


def resolve(name: str) -> object:
    """What a name stands for; AttributeError with the nearest name when it stands for nothing."""
    target = NAMES.get(name)
    if target is None:
        near = difflib.get_close_matches(name, NAMES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise AttributeError(f"guerillabackup.{name} is not provided to configuration and units{hint}")
    module_name, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module_name), attribute or name)
