"""For all tests: no test is slow or fast by the clock, for a loaded machine is slow at anything."""

from hypothesis import settings

settings.register_profile("guerillabackup", deadline=None)
settings.load_profile("guerillabackup")
