"""Goal: somebody who runs the original changes nothing but the program.

The configuration directory is made of the files of the original's own package, with every setting of its
templates in force and only the directories others; one unit is made from its template for units of one's own,
others are copies of its own units' code.
"""

import bz2
import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from original_peer import DEADLINE, LIBRARY, UNITS, Original, end, wait_until

from guerillabackup.original.storage import DefaultFileStorage, Element

PROGRAM = "from guerillabackup.cli.backup_generator import main; main()"
TOOL = "from guerillabackup.cli.main import main; main()"
ETC = "etc/guerillabackup"
UNIT_TEMPLATE = "usr/share/doc/guerillabackup/BackupGeneratorUnit.py.template"
LOGS = {
    # One file for each pattern of the template, and for most both plain and compressed: name -> source.
    "auth.log.1": "auth.log",
    "syslog.2.gz": "syslog",
    "syslog.1": "syslog",
    "btmp.1": "btmp",
    "dpkg.log.12.gz": "dpkg.log",
    "apt/history.log.1.gz": "apt/history.log",
    "apt/term.log.1": "apt/term.log",
    "apache2/www.example.org-access.log.3.gz": "apache2/www.example.org-access.log",
    "ulog/ulogd.pcap.1": "ulog/ulogd.pcap",
    "tomcat8/catalina.out.1": "tomcat8/catalina.out",
    "tomcat8/catalina.2024-02-03.log": "tomcat8/catalina.log",
    "tomcat8/catalina.2024-02-02.log.gz": "tomcat8/catalina.log",
    "tomcat8/localhost.2024-02-03.log.gz": "tomcat8/localhost.log",
    "tomcat8/localhost_access_log.2024-02-03.txt": "tomcat8/localhost_access_log.txt",
}
STARTS = re.compile(r"# (?!GeneralDefaultEncryptionElement)[A-Z]\w+(\['.*'\] = | = |\.append\()")
LEFT = ("syslog", "unrelated.txt", "apache2/access.log")
OWN_INVOKE = """\
    handle = sink.getSinkHandle('/own/note')
    element = guerillabackup.OSProcessPipelineElement('/bin/echo', ['/bin/echo', self.unitName])
    instances = guerillabackup.instantiateTransformationPipeline(
        [element] + guerillabackup.getDefaultDownstreamPipeline(self.configContext, None),
        None, handle.getSinkStream(), doStartFlag=True)
    guerillabackup.runTransformationPipeline(instances)
    from guerillabackup.BackupElementMetainfo import BackupElementMetainfo
    handle.close(BackupElementMetainfo({
        'BackupType': 'full', 'Timestamp': 1700000000, 'DataUuid': b'own',
        'StorageFileChecksumSha512': instances[-1].getDigestData()}))
    os.close(guerillabackup.secureOpenAt(
        self.persistencyDirFd, 'state.current', fileOpenFlags=os.O_WRONLY|os.O_CREAT, fileCreateMode=0o600))
    self.due = 600.0
"""


class Host:
    """The original's configuration with its directories below `base`."""

    def __init__(self, base: Path, original: Original) -> None:
        self.base, self.original = base, original
        self.config = base / "etc"
        self.units = self.config / "units"
        self.units.mkdir(parents=True, mode=0o700)
        (base / "data").mkdir(mode=0o700)
        for name in ("units/Readme.txt", "units/TarBackupUnit.config.template", "config.template"):
            (self.config / name).write_text((original.root / ETC / name).read_text())
        self.write("config", self.in_force("config.template"))

    def in_force(self, template: str) -> str:
        """A template with all its settings uncommented, but for the key, which nobody has."""
        text = (self.original.root / ETC / template).read_text()
        settings = uncomment(text).replace("'/tmp/", f"'{self.base}/")
        settings = settings.replace("Condition(600)", "Condition(0)")
        settings = settings.replace("Condition(0.5, 240)", "Condition(100000, 0)")
        for directory in ("/var/lib/guerillabackup", "/var/spool/guerillabackup", "/run/guerillabackup"):
            settings = settings.replace(f"'{directory}", f"'{self.base}{directory}")
        settings = settings.replace("'/var/log", f"'{self.base}/var/log")
        settings = settings.replace(f"{self.base}/var/lib/guerillabackup/data", f"{self.base}/data")
        return settings.replace("'Root': '/'", f"'Root': '{self.base}/tree'")

    def write(self, name: str, text: str) -> None:
        (self.config / name).write_text(text)

    def start(self) -> subprocess.Popen[bytes]:
        with (self.base / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "--ConfigDir", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run_until_done(self, *units: str) -> None:
        """Run our program until no log is left and these units have remembered what they did; then end it."""
        states = [
            self.base / f"var/lib/guerillabackup/state/generators/{unit}/state.current" for unit in units
        ]
        process = self.start()
        try:
            wait_until(
                lambda: self.logs_left() == set(LEFT) and all(state.exists() for state in states),
                process,
                self.log,
            )
            process.terminate()
            assert process.wait(DEADLINE) == 0, self.log.read_text()
        finally:
            end(process)
        assert "error: " not in self.log.read_text()

    def logs_left(self) -> set[str]:
        logs = self.base / "var" / "log"
        return {str(path.relative_to(logs)) for path in logs.rglob("*") if path.is_file()}

    @property
    def log(self) -> Path:
        return self.base / "log"

    def elements(self) -> list[Element]:
        """All but lists of members."""
        storage = DefaultFileStorage(str(self.base / "data"), {})
        result = storage.queryBackupDataElements(
            lambda element: not element.getSourceUrl().endswith(".members")
        )
        return list(iter(result.getNextElement, None))

    def sources(self) -> list[str]:
        return sorted(element.getSourceUrl() for element in self.elements())

    def verify(self) -> None:
        command = [sys.executable, "-c", TOOL, "element", "verify", "--all", "--config-dir", str(self.config)]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE)


@pytest.fixture
def host(tmp_path: Path, original: Original) -> Host:
    host = Host(tmp_path, original)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("content")
    return host


def uncomment(text: str) -> str:
    """Each setting of a template, over as many lines as it takes; but not the key, which nobody has."""
    lines: list[str] = []
    setting = ""
    for line in text.splitlines():
        if (not setting and STARTS.match(line)) or (setting and line.startswith("#  ")):
            line = line.removeprefix("# ")
            setting += line + "\n"
            try:
                compile(setting, "setting", "exec")
                setting = ""
            except SyntaxError:
                pass
        lines.append(line)
    assert not setting
    return "\n".join(lines) + "\n"


def data_of(element: Element) -> bytes:
    descriptor = element.getDataStream()
    with open(descriptor, "rb") as stream:
        return stream.read()


def make_logs(directory: Path) -> None:
    for name in (*LOGS, *LEFT):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f"content of {name}\n".encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def own_unit(original: Original, invoke: str = OWN_INVOKE) -> str:
    """The template for a unit of one's own with its gaps filled: due at once, then in a while."""
    text = (original.root / UNIT_TEMPLATE).read_text()
    text = text.replace("maxIntervalDelta = 600.0\n    ...", "maxIntervalDelta = getattr(self, 'due', 0)")
    head, _, tail = text.rpartition("    ...\n")
    return head + invoke + tail


def test_every_setting_of_the_originals_templates_is_accepted_and_acted_on(host, original):
    units = Path("/usr/lib/guerillabackup/lib/guerillabackup")
    for unit, target in (("TarBackupUnit", units), ("LogfileBackupUnit", original.root / UNITS)):
        (host.units / unit).symlink_to(target / f"{unit}.py")
        host.write(f"units/{unit}.config", host.in_force(f"units/{unit}.config.template"))
    host.write("units/OwnUnit", own_unit(original))
    logs = host.base / "var" / "log"
    make_logs(logs)
    host.run_until_done("TarBackupUnit", "LogfileBackupUnit", "OwnUnit")
    assert host.sources() == sorted([*(f"{logs}/{source}" for source in LOGS.values()), "/root", "/own/note"])
    assert host.logs_left() == set(LEFT)
    stored = {
        (element.getSourceUrl(), bz2.decompress(data_of(element)))
        for element in host.elements()
        if element.getSourceUrl() != "/root"
    }
    assert stored == {
        *((f"{logs}/{source}", f"content of {name}\n".encode()) for name, source in LOGS.items()),
        ("/own/note", b"OwnUnit\n"),
    }
    assert (host.base / "prebackup").exists()
    assert (host.base / "postbackup").exists()
    host.verify()


def test_a_copy_of_the_originals_own_units_runs_as_a_unit_of_ones_own(host, original):
    for unit in ("TarBackupUnit", "LogfileBackupUnit"):
        code = (original.root / LIBRARY / "guerillabackup" / f"{unit}.py").read_text()
        host.write(f"units/My{unit}", code)
        host.write(f"units/My{unit}.config", host.in_force(f"units/{unit}.config.template"))
    logs = host.base / "var" / "log"
    make_logs(logs)
    os.utime(logs / "syslog.1", (1700000000, 1700000000))
    host.run_until_done("MyTarBackupUnit", "MyLogfileBackupUnit")
    assert host.sources() == sorted([*(f"{logs}/{source}" for source in LOGS.values()), "/root"])
    syslog = [element for element in host.elements() if element.getSourceUrl() == f"{logs}/syslog"]
    older, newer = sorted(syslog, key=lambda element: element.getMetaData().predecessor is not None)
    assert newer.getMetaData().predecessor == older.getMetaData().data_uuid
    assert newer.getMetaData().timestamp == 1700000000
    host.verify()


def test_a_unit_of_ones_own_that_hangs_or_raises_concerns_no_other(host, original):
    host.write("units/AHanging", own_unit(original, "    import time\n    time.sleep(86400)\n"))
    host.write("units/ARaising", own_unit(original, "    raise SystemExit('the disk is on fire')\n"))
    host.write("units/OwnUnit", own_unit(original))
    process = host.start()
    try:
        wait_until(lambda: host.sources() == ["/own/note"], process, host.log)
        wait_until(lambda: "the disk is on fire" in host.log.read_text(), process, host.log)
        assert process.poll() is None
    finally:
        end(process)
    host.verify()
