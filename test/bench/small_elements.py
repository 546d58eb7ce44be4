"""How long storing many small elements takes: in batches, one by one, and as bare files without a storage.

Each run has a directory of its own, and nothing is deleted before the end: creating files where thousands
were just deleted measures ext4 and nothing else.
"""

import hashlib
import os
import shutil
import time
from pathlib import Path

from measure import Run, Subject, finish, free_directory, measure, options, report

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.osfile import Ownership
from guerillabackup.storage.interface import SinkInterface
from guerillabackup.storage.registry import open_storage

START = 1_600_000_000
SOURCE = SourceUrl("/bench/app.log")


def metainfos(content: bytes, count: int) -> list[BackupElementMetainfo]:
    digest = hashlib.sha512(content).digest()
    return [
        BackupElementMetainfo(
            {
                "BackupType": "full",
                "DataUuid": number.to_bytes(64, "big"),
                "Predecessor": (number - 1).to_bytes(64, "big") if number > 0 else None,
                "StorageFileChecksumSha512": digest,
                "Timestamp": START + number,
            }
        )
        for number in range(count)
    ]


def store_all(sink: SinkInterface, content: bytes, values: list[BackupElementMetainfo]) -> None:
    for metainfo in values:
        handle = sink.get_sink_handle(SOURCE)
        handle.write(content)
        handle.close(metainfo)


def store(directory: Path, content: bytes, values: list[BackupElementMetainfo], in_batches: bool) -> Run:
    storage = open_storage(str(directory), Ownership(), create=True)
    try:
        began, cpu = time.perf_counter(), time.process_time()
        if in_batches:
            with storage.open_batch() as batch:
                store_all(batch, content, values)
        else:
            store_all(storage, content, values)
        return _run(began, cpu, len(values))
    finally:
        storage.close()


def write_files(directory: Path, content: bytes, values: list[BackupElementMetainfo]) -> Run:
    """Two files an element, each written, synced and renamed, then the directory synced: the plain way."""
    began, cpu = time.perf_counter(), time.process_time()
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for number, metainfo in enumerate(values):
        for suffix, data in (("data", content), ("info", metainfo.serialize())):
            file = os.open("new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=descriptor)
            os.write(file, data)
            os.fsync(file)
            os.close(file)
            os.rename("new", f"{number}.{suffix}", src_dir_fd=descriptor, dst_dir_fd=descriptor)
        os.fsync(descriptor)
    os.close(descriptor)
    return _run(began, cpu, len(values))


def _run(began: float, cpu: float, count: int) -> Run:
    wall = time.perf_counter() - began
    return Run(wall, time.process_time() - cpu, notes={"elements/s": round(count / wall)})


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="elements (default %(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="bytes of each (default %(default)s)")
    arguments = parser.parse_args()
    count = min(arguments.count, 2000) if arguments.quick else arguments.count
    content = os.urandom(arguments.size)
    values = metainfos(content, count)
    work = free_directory(arguments.dir, "small-elements")
    try:
        results = measure(
            [
                Subject("in batches", lambda: store(free_directory(work, "batch"), content, values, True)),
                Subject("one by one", lambda: store(free_directory(work, "single"), content, values, False)),
                Subject("bare files", lambda: write_files(free_directory(work, "bare"), content, values)),
            ],
            runs=3 if arguments.quick else arguments.runs,
            warm_up=0 if arguments.quick else 1,
        )
    finally:
        shutil.rmtree(work)
    lines: list[str] = []
    title = f"storing {count} elements of {arguments.size} bytes"
    report(title, results, "in batches", "one by one takes at least 5 times as long as in batches", lines)
    finish(lines)


if __name__ == "__main__":
    main()
