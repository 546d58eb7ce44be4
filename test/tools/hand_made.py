"""Archives that no tar would write."""

import io
import os
import tarfile


def make_incremental(directories, members=()):
    """An archive as tar makes it, of hand-made directory records and members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, record in directories.items():
            entry = tarfile.TarInfo(os.fsdecode(name))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            entry.pax_headers = {"GNU.dumpdir": record.decode("ascii")}
            archive.addfile(entry)
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.mode = 0o644
            if kind == tarfile.REGTYPE:
                entry.size = len(content)
            else:
                entry.linkname = content
            archive.addfile(entry, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    return buffer.getvalue()
