"""What deletes elements and merges a restored tree while a tracer looks at it, for test_killed.py."""

import os
import shutil

from traced_child import serve

from guerillabackup.element import SourceUrl
from guerillabackup.events import ignore_events
from guerillabackup.restore.elements import ElementOperations
from guerillabackup.restore.target import RestoreTarget
from guerillabackup.restore.verify import VerifyRules
from guerillabackup.storage.default_file import DefaultFileStorage

SOURCE = SourceUrl("/host/tree")


def plan_deletion(storage, names=None):
    """What a command line names: without any, all that is there of the source."""
    elements = ElementOperations(storage, VerifyRules(), ignore_events)
    found = storage.query_backup_data_elements(source_url=SOURCE)
    return elements, elements.plan_deletion(names or [str(each.get_element_id()) for each in found])


def merge(base):
    """Unpack a tree into a directory that has files already; hands back what is warned of."""
    with RestoreTarget(os.path.join(base, "target"), into_existing=True) as target:
        shutil.copytree(os.path.join(base, "new"), target.unpack_path, symlinks=True, dirs_exist_ok=True)
        target.merge()
        return target.warnings


def make_operation(name, directory):
    if name == "merge":
        return lambda: merge(directory)
    elements, plan = plan_deletion(DefaultFileStorage(directory))
    return lambda: list(elements.delete(plan))


if __name__ == "__main__":
    serve(make_operation)
