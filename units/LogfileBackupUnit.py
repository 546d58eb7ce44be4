"""Rotated log files: link this file into the units folder as LogfileBackupUnit to activate it."""

from guerillabackup.units.logfile import LogfileBackupUnit as backupGeneratorUnitClass  # noqa: F401
