"""Programs that are kept to one directory, by each wall alone and both, as far as this machine has them."""

import ctypes
import errno
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ordinary_user import as_user, user_place  # noqa: F401 - a fixture

from guerillabackup.errors import PipelineError
from guerillabackup.pipeline.confinement import ALL_WALLS, Confinement, Wall, rights_to_write

CHOICES = [ALL_WALLS, (Wall.LANDLOCK,), (Wall.MOUNT_NAMESPACE,)]
CHANGES = {
    "create": "> $P/new",
    "write": "echo more >> $P/file",
    "truncate": "truncate -s 0 $P/file",
    "open and truncate": ": > $P/file",
    "remove": "rm -f $P/file",
    "remove a directory": "rmdir $P/empty",
    "rename": "mv $P/file $P/renamed",
    "exchange for another": "cp $P/file $P/copy && mv -f $P/copy $P/file",
    "link": "ln $P/file $P/link",
    "link symbolically": "ln -s file $P/symbolic",
    "make a directory": "mkdir $P/directory",
    "make a pipe": "mkfifo $P/pipe",
    "rename to another directory": "mv $P/file $P/empty/file",
    "link in another directory": "ln $P/file $P/empty/link",
}
ATTRIBUTES = {
    "mode": "chmod 777 $P/file",
    "owner": "chown -h $(id -u):$(id -g) $P/file",
    "times": "touch -d @1 $P/file",
    "attribute": "exec \"$PYTHON\" -c \"import os; os.setxattr(os.environ['P'] + '/file', 'user.x', b'')\"",
}
DEVICE = {"make a device": "mknod $P/device c 1 3"}


def possible_walls():
    """What this machine and user have, found out in another way than the module does."""
    has_landlock = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) >= 2
    may_mount = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    return {Wall.LANDLOCK: has_landlock, Wall.MOUNT_NAMESPACE: may_mount}


POSSIBLE = possible_walls()


def look(directory):
    """All that a change could change, but for times of access."""
    found = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[path] = (status.st_mode, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def furnish(directory):
    directory.mkdir()
    (directory / "empty").mkdir()
    (directory / "file").write_text("content\n")
    return directory


@pytest.fixture(params=CHOICES, ids=lambda walls: " and ".join(wall.value for wall in walls))
def confinement(request, tmp_path):
    """Of `inside`, beside which there is `outside`."""
    furnish(tmp_path / "outside")
    return Confinement(str(furnish(tmp_path / "inside")), request.param)


def run(confinement, script, place):
    """How a script ended whose place is $P, once it was confined."""
    environment = {**os.environ, "P": str(place), "PYTHON": sys.executable}
    options = {"env": environment, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = confinement.start(lambda: subprocess.Popen(["sh", "-e", "-c", script], **options))
    _, errors = process.communicate()
    return process.returncode, errors


def test_every_wall_that_can_be_is_raised(confinement, tmp_path):
    assert run(confinement, "true", tmp_path) == (0, "")
    assert confinement.walls == tuple(wall for wall in confinement.wanted if POSSIBLE[wall])
    assert confinement.confined_by == tuple(wall.value for wall in confinement.walls)


@pytest.mark.parametrize("change", [*CHANGES, *ATTRIBUTES, *DEVICE])
def test_within_the_directory_everything_can_be_done(confinement, tmp_path, change):
    if change in DEVICE and not POSSIBLE[Wall.MOUNT_NAMESPACE]:
        return  # only root makes devices
    script = {**CHANGES, **ATTRIBUTES, **DEVICE}[change]
    assert run(confinement, script, tmp_path / "inside") == (0, "")


@pytest.mark.parametrize("change", [*CHANGES, *DEVICE])
def test_outside_nothing_can_be_changed(confinement, tmp_path, change):
    before = look(tmp_path / "outside")
    status, _ = run(confinement, {**CHANGES, **DEVICE}[change], tmp_path / "outside")
    if confinement.walls:
        assert status != 0
        assert look(tmp_path / "outside") == before


@pytest.mark.parametrize("change", ATTRIBUTES)
def test_outside_attributes_stay_where_mounts_are_read_only(confinement, tmp_path, change):
    before = look(tmp_path / "outside")
    status, _ = run(confinement, ATTRIBUTES[change], tmp_path / "outside")
    if Wall.MOUNT_NAMESPACE in confinement.walls:
        assert status != 0
        assert look(tmp_path / "outside") == before


@pytest.mark.parametrize(
    "script",
    [
        "mv $P/outside/file $P/inside/new",
        "mv $P/inside/file $P/outside/new",
        "ln $P/outside/file $P/inside/new",
        "ln $P/inside/file $P/outside/new",
        "ln -s $P/outside $P/inside/way; echo more > $P/inside/way/file",
        "ln -s $P/outside $P/inside/way; rm -r $P/inside/way/empty",
        "echo more > $P/inside/../outside/file",
        "rmdir $P/outside/empty $P/outside",
        "mv $P/inside $P/elsewhere",
        "mkdir $P/elsewhere",
    ],
)
def test_no_way_leads_from_one_to_the_other(confinement, tmp_path, script):
    before = look(tmp_path / "outside")
    names = sorted(os.listdir(tmp_path))
    status, _ = run(confinement, script, tmp_path)
    if confinement.walls:
        assert status != 0
        assert (look(tmp_path / "outside"), sorted(os.listdir(tmp_path))) == (before, names)


def test_what_tar_and_shells_need_outside_they_have(confinement, tmp_path):
    script = 'echo x > /dev/null; : <> /dev/null; cat "$P/outside/file" > "$P/inside/copy"; ls / > /dev/null'
    assert run(confinement, script, tmp_path) == (0, "")


def test_our_own_process_is_left_as_it_is(confinement, tmp_path):
    mounts = Path("/proc/self/mountinfo").read_text()
    threads = threading.active_count()
    run(confinement, "true", tmp_path)
    assert threading.active_count() == threads
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()
    (tmp_path / "outside" / "new").write_text("written")


def test_what_cannot_be_started_raises_what_it_would_without(confinement):
    with pytest.raises(FileNotFoundError):
        confinement.start(lambda: subprocess.Popen(["/no/such/program"]))


def test_one_after_the_other_can_be_confined_to_directories_of_their_own(tmp_path):
    for name in ("a", "b"):
        confinement = Confinement(str(furnish(tmp_path / name)))
        assert run(confinement, "> $P/new", tmp_path / name) == (0, "")


def test_what_is_mounted_in_the_directory_can_be_written_to_unless_it_is_read_only(tmp_path):
    if not POSSIBLE[Wall.MOUNT_NAMESPACE]:
        return  # who may not mount has no mounts to be tested
    inside = furnish(tmp_path / "inside")
    furnish(tmp_path / "outside")
    for name in ("bound", "memory", "sealed"):
        (inside / name).mkdir()
    mounted = f"""
import sys; sys.path[:0] = {sys.path!r}
import subprocess
from guerillabackup.pipeline.confinement import *
def sh(text): return subprocess.Popen(["sh", "-c", text])
assert sh('''set -e; cd {tmp_path}; mkdir elsewhere
    mount --bind elsewhere inside/bound; mount -t tmpfs none inside/memory
    mount -t tmpfs none inside/sealed; mount -o remount,ro inside/sealed''').wait() == 0
for walls in ALL_WALLS, ALL_WALLS[:1], ALL_WALLS[1:]:
    confinement = Confinement({str(inside)!r}, walls)
    assert confinement.start(lambda: sh("set -e; cd {inside}; > bound/new; > memory/new")).wait() == 0
    assert confinement.start(lambda: sh("> {inside}/sealed/new")).wait() != 0
    if confinement.walls:
        assert confinement.start(lambda: sh("> {tmp_path}/outside/new")).wait() != 0
confinement = Confinement({str(inside / "memory")!r})
assert confinement.start(lambda: sh("> {inside}/memory/last")).wait() == 0
if confinement.walls:
    assert confinement.start(lambda: sh("> {inside}/last")).wait() != 0
"""
    argv = ["unshare", "--mount", sys.executable, "-c", mounted]
    assert subprocess.run(argv, capture_output=True, text=True).stderr.count("Traceback") == 0
    assert (tmp_path / "elsewhere" / "new").exists()


def test_to_the_root_directory_nothing_is_confined(tmp_path):
    confinement = Confinement("/")
    assert run(confinement, "> $P/new", tmp_path) == (0, "")
    assert confinement.walls == ()


def test_without_any_wall_the_program_runs_and_that_is_told_once(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    confinement = Confinement(str(furnish(tmp_path / "inside")), ())
    assert run(confinement, "> $P/new", tmp_path) == (0, "")
    assert confinement.confined_by == ()
    assert [record.message for record in caplog.records] == [
        f"what writes to {tmp_path / 'inside'} is not confined to it"
    ]


def test_a_directory_that_is_gone_is_an_error_and_nothing_is_started(tmp_path):
    started = []
    with pytest.raises(PipelineError, match="nowhere: No such file or directory"):
        Confinement(str(tmp_path / "nowhere")).start(lambda: started.append(1))
    assert started == []


def test_an_ordinary_user_is_confined_by_landlock_alone(user_place):  # noqa: F811
    (user_place / "inside").mkdir()
    os.chown(user_place / "inside", *os.stat(user_place)[4:6])
    script = f"""
import sys; sys.path[:0] = {sys.path!r}
import subprocess
from guerillabackup.pipeline.confinement import *
confinement = Confinement("inside")
for command in "> inside/new", "> outside":
    print(confinement.start(lambda: subprocess.Popen(["sh", "-c", command])).wait(), confinement.confined_by)
"""
    result = as_user([sys.executable, "-c", script], cwd=user_place)
    outcome = [(0, ("landlock",)), (2, ("landlock",))] if POSSIBLE[Wall.LANDLOCK] else [(0, ()), (0, ())]
    assert result.stdout.splitlines() == [f"{status} {walls}" for status, walls in outcome]


REFUSING = """
import sys; sys.path[:0] = {path!r}
import ctypes, struct, subprocess
from guerillabackup.pipeline.confinement import *
libc = ctypes.CDLL(None, use_errno=True)
def say(code, yes, no, value): return struct.pack("HBBI", code, yes, no, value)
program = say(0x20, 0, 0, 0)  # the number of the system call
for position, number in enumerate({numbers!r}):
    program += say(0x15, 0, 1, number) + say(0x06, 0, 0, 0x50000 | {error})
program += say(0x06, 0, 0, 0x7FFF0000)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(program) // 8, program))) == 0
confinement = Confinement({directory!r})
status = confinement.start(lambda: subprocess.Popen(["sh", "-c", "> {directory}/new"])).wait()
print(status, *confinement.confined_by, sep=",")
"""


@pytest.mark.parametrize(
    ("numbers", "error", "left"),
    [
        ([444], errno.ENOSYS, Wall.MOUNT_NAMESPACE),  # a kernel before 5.13
        ([444], errno.EOPNOTSUPP, Wall.MOUNT_NAMESPACE),  # built in, and switched off when it was started
        ([445], errno.ENOMEM, Wall.MOUNT_NAMESPACE),
        ([446], errno.EPERM, Wall.MOUNT_NAMESPACE),
        ([442], errno.ENOSYS, Wall.LANDLOCK),  # a kernel before 5.12, or a container's filter
        ([428], errno.EPERM, Wall.LANDLOCK),
        ([429], errno.EPERM, Wall.LANDLOCK),  # by then all is read-only
        ([429, 444], errno.EPERM, None),
    ],
)
def test_where_the_kernel_refuses_one_wall_the_other_is_raised(tmp_path, numbers, error, left):
    inside = furnish(tmp_path / "inside")
    script = REFUSING.format(path=sys.path, numbers=numbers, error=error, directory=str(inside))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    expected = [left.value] if left is not None and POSSIBLE[left] else []
    assert result.stdout.strip() == ",".join(["0", *expected]), result.stderr
    assert (inside / "new").exists()


def test_the_first_version_of_landlock_which_denies_links_is_not_used():
    with pytest.raises(OSError, match="needed for links"):
        rights_to_write(1)


def test_rights_that_a_version_does_not_know_are_not_asked_for():
    assert [rights_to_write(version).bit_length() for version in (2, 3, 7)] == [14, 15, 15]
