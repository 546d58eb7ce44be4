"""Elements of a source for tests, made by the programs themselves: tar, a compressor, gpg, then stored."""

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from trees import archive

from guerillabackup.element import BackupElementMetainfo, SourceUrl, make_data_uuid
from guerillabackup.units.tar_snapshot import forget_moved_directories

COMPRESSORS = {"zstd": ["zstd", "-q", "-c"], "bzip2": ["bzip2", "-c"], "gzip": ["gzip", "-c"], None: ["cat"]}


class SampleSource:
    """Backs up a tree into a storage as the tar unit does, one element after the other.

    `recipient` is (gpg home, key, ...) or None; `sign` is as a unit context's, None for unsigned elements.
    Unless `records_moves`, tar is kept from recording moved directories, as by the unit.
    """

    def __init__(
        self,
        storage,
        work,
        *,
        source="/host/tree",
        compression="zstd",
        recipient=None,
        sign=None,
        tar_format="posix",
        records_moves=False,
    ):
        self.storage = storage
        self.source_url = SourceUrl(source)
        self.tree = Path(work) / "tree"
        self.compression, self.recipient, self.sign, self.tar_format = (
            compression,
            recipient,
            sign,
            tar_format,
        )
        self.index = Path(work) / "index"
        self.now = 1_700_000_000
        self.last_uuid = None
        self.records_moves = records_moves
        self._work = Path(work)

    def back_up(self, kind, **options):
        """One element of the tree as it is, `kind` full or inc."""
        if kind == "full":
            self.index.unlink(missing_ok=True)
        elif not self.records_moves:
            forget_moved_directories(str(self.index), str(self.tree))
        output = self._work / "archive.tar"
        archive(self.tree, self.index, output, tar_format=self.tar_format, **options)
        return self.store(kind, output.read_bytes())

    def store(self, kind, content, *, pack=True, timestamp=None, **changes):
        """One element of any content; `changes` replace values of its metadata."""
        data = self.pack(content) if pack else content
        timestamp = self.now if timestamp is None else timestamp
        digest = hashlib.sha512(data).digest()
        uuid = make_data_uuid(self.last_uuid, digest, timestamp, self.source_url)
        values = {
            "BackupType": kind,
            "Timestamp": timestamp,
            "DataUuid": uuid,
            "Predecessor": self.last_uuid,
            "StorageFileChecksumSha512": digest,
            **changes,
        }
        metainfo = BackupElementMetainfo({key: value for key, value in values.items() if value is not None})
        if self.sign is not None:
            metainfo = self.sign(metainfo, self.source_url)
        with self.storage.get_sink_handle(self.source_url) as handle:
            handle.write(data)
            element = handle.close(metainfo)
        self.last_uuid = uuid
        self.now += 3600
        return element

    def pack(self, content):
        compressor = COMPRESSORS[self.compression]
        packed = subprocess.run(compressor, input=content, check=True, capture_output=True).stdout
        if self.recipient is None:
            return packed
        home, *keys = self.recipient
        argv = ["gpg", "--batch", "--no-options", "--homedir", home, "--trust-model", "always"]
        argv += ["--compress-algo", "none", "--throw-keyids", "--encrypt"]
        argv += [part for key in keys for part in ("--hidden-recipient", key)]
        return subprocess.run(argv, input=packed, check=True, capture_output=True).stdout


@contextlib.contextmanager
def gpg_home(*parameters):
    """A short-lived gpg home with generated keys; its agent is ended."""
    home = tempfile.mkdtemp(prefix="gb", dir="/tmp")
    try:
        for name, usage in parameters:
            argv = ["gpg", "--batch", "--homedir", home, "--passphrase", "", "--pinentry-mode", "loopback"]
            algorithm = "future-default" if usage == "default" else "ed25519"
            subprocess.run(
                [*argv, "--quick-gen-key", name, algorithm, usage], check=True, capture_output=True
            )
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)
