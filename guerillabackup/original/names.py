"""The names that configuration files and units reach as attributes and as modules of the package.

`NAMES` is their table: those of the original, and ours beside them; `MODULES` are the modules that code
written for the original imports. Each is imported only when it is used; nothing else depends on this room.
Touches: importlib.
"""

import difflib
import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

_PACKAGE = "guerillabackup"
_CONDITIONS = "guerillabackup.generator.conditions"
_ERRORS = "guerillabackup.errors"
_FUNCTIONS = "guerillabackup.original.functions"
_GENERATOR = "guerillabackup.generator.interface"
_PROCESSES = "guerillabackup.original.processes"
_ELEMENTS = "guerillabackup.original.elements"
_ORIGINAL_STORAGE = "guerillabackup.original.storage"
_ORIGINAL_DIGEST = "guerillabackup.original.digest"
_ORIGINAL_PIPELINE = "guerillabackup.original.pipeline"
_PIPELINE = "guerillabackup.pipeline"
_STORAGE = "guerillabackup.storage"
_TRANSFER = "guerillabackup.original.transfer"

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "CompressionPipelineElement": f"{_PIPELINE}.compression",
        "DigestPipelineElement": _ORIGINAL_DIGEST,
        "GpgEncryptionPipelineElement": _ELEMENTS,
        "OSProcessPipelineElement": _ELEMENTS,
        "ThreadPipelineElement": f"{_PIPELINE}.thread",
        "TransformationPipelineElementInterface": _ELEMENTS,
        "TransformationProcessInterface": _PROCESSES,
        "TransformationProcessOutputInterface": _PROCESSES,
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
        "DefaultFileSystemSink": _ORIGINAL_STORAGE,
        "SinkHandleInterface": _ORIGINAL_STORAGE,
        "SinkInterface": _ORIGINAL_STORAGE,
        "StorageBackupDataElementInterface": _ORIGINAL_STORAGE,
        "StorageInterface": _ORIGINAL_STORAGE,
        "SenderMoveDataTransferPolicy": _TRANSFER,
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
"""Name of a class -> the module it is in, with `:attribute` where it is called something else there."""

FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        "getDefaultDownstreamPipeline": _ORIGINAL_PIPELINE,
        "instantiateTransformationPipeline": _ORIGINAL_PIPELINE,
        "runTransformationPipeline": _ORIGINAL_PIPELINE,
        "assertSourceUrlSpecificationConforming": _FUNCTIONS,
        "getFileOpenerInformation": _FUNCTIONS,
        "getPersistencyBaseDirPathname": _FUNCTIONS,
        "getRuntimeDataDirPathname": _FUNCTIONS,
        "isValueListOfType": _FUNCTIONS,
        "listDirAt": _FUNCTIONS,
        "openPersistencyFile": _FUNCTIONS,
        "readFully": _FUNCTIONS,
        "secureOpenAt": _FUNCTIONS,
        "CONFIG_GENERAL_DEBUG_TEST_MODE_KEY": _FUNCTIONS,
        "CONFIG_GENERAL_PERSISTENCY_BASE_DIR_DEFAULT": _FUNCTIONS,
        "CONFIG_GENERAL_PERSISTENCY_BASE_DIR_KEY": _FUNCTIONS,
        "CONFIG_GENERAL_RUNTIME_DATA_DIR_DEFAULT": _FUNCTIONS,
        "CONFIG_GENERAL_RUNTIME_DATA_DIR_KEY": _FUNCTIONS,
        "GENERATOR_UNIT_CLASS_KEY": _FUNCTIONS,
        "OPENER_INFO_FAIL_ON_ERROR": _FUNCTIONS,
        "OPENER_INFO_IGNORE_ACCESS_ERRORS": _FUNCTIONS,
        "TRANSFER_RECEIVER_POLICY_CLASS_KEY": _FUNCTIONS,
        "TRANSFER_RECEIVER_POLICY_INIT_ARGS_KEY": _FUNCTIONS,
        "TRANSFER_SENDER_POLICY_CLASS_KEY": _FUNCTIONS,
        "TRANSFER_SENDER_POLICY_INIT_ARGS_KEY": _FUNCTIONS,
    }
)
"""The original's functions and constants -> the module they are in."""

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "BackupElementMetainfo": "guerillabackup.element",
        "DefaultFileStorage": _ORIGINAL_STORAGE,
        "DefaultFileSystemSink": _ORIGINAL_STORAGE,
        "DigestPipelineElement": _ORIGINAL_DIGEST,
        "GpgEncryptionPipelineElement": _ELEMENTS,
        "OSProcessPipelineElement": _ELEMENTS,
        "Transfer": _TRANSFER,
        "TransformationProcessOutputStream": _ORIGINAL_PIPELINE,
        "UnitRunConditions": "guerillabackup.original.run_conditions",
        "Utils": "guerillabackup.original.tools",
    }
)
"""The original's modules -> where what is in them stands."""

CLASS_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "BackupElementMetainfo": "guerillabackup.element",
        "DefaultFileStorage": f"{_STORAGE}.default_file",
    }
)
"""Modules of the original whose names are those of classes here: the name stands for both."""


class _LazyModule(ModuleType):
    """A module of the original, filled when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module = importlib.import_module(MODULES[self.__name__.rpartition(".")[2]])
        try:
            return getattr(module, name)
        except AttributeError as error:
            known = [each for each in vars(module) if not each.startswith("_")]
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise AttributeError(f"{self.__name__} has no {name}{hint}") from error


class _ClassModule(_LazyModule):
    """A module that can also be called, subclassed and asked for instances, as the class of its name.

    Units of the original use `guerillabackup.X` as the module, units of ours as the class.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return getattr(self._find_class(), name)

    def __call__(self, *positional: Any, **named: Any) -> Any:
        return self._find_class()(*positional, **named)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._find_class())

    def __mro_entries__(self, bases: object) -> tuple[type, ...]:
        return (self._find_class(),)

    def _find_class(self) -> type:
        name = self.__name__.rpartition(".")[2]
        found: type = getattr(importlib.import_module(CLASS_MODULES[name]), name)
        return found


def resolve(name: str) -> object:
    """What a name stands for; AttributeError with the nearest name when it stands for nothing."""
    target = NAMES.get(name) or FUNCTIONS.get(name)
    if target is not None:
        module_name, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module_name), attribute or name)
    if name in MODULES:
        provide_modules()
        return sys.modules[f"{_PACKAGE}.{name}"]
    near = difflib.get_close_matches(name, (*NAMES, *FUNCTIONS, *MODULES), 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise AttributeError(f"guerillabackup.{name} is not provided to configuration and units{hint}")


def provide_modules() -> None:
    """Let code import the modules of the original: `import guerillabackup.Utils` and the like.

    They take no place in the package itself, whose attribute of that name may be a class.
    """
    for name in MODULES:
        kind = _ClassModule if name in CLASS_MODULES else _LazyModule
        full_name = f"{_PACKAGE}.{name}"
        if full_name not in sys.modules:
            sys.modules[full_name] = kind(full_name, f"What the original had in {full_name}.")
