"""Full and incremental tar archives: link this file into the units folder as TarBackupUnit to activate it."""

from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass  # noqa: F401
