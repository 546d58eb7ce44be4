"""GuerillaBackup: encrypted backups made at the source, spooled, and moved by policy.

Configuration files, units and policies reach what they need as attributes of this package
(`guerillabackup.OSProcessPipelineElement` …); the names stand in `original/names.py` and are imported
only when they are used.
"""


def __getattr__(name: str) -> object:
    """Hand on a name that configuration files use (PEP 562); each of them has a capital letter.

    A name without one is a module of ours, and importing that must not load all the names.
    """
    if name.islower():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    names = importlib.import_module("guerillabackup.original.names")
    return names.resolve(name)
