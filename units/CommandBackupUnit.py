"""The output of commands, such as database dumps: link this file into the units folder to activate it."""

from guerillabackup.units.command import CommandBackupUnit as backupGeneratorUnitClass  # noqa: F401
