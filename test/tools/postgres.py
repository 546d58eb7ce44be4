"""A PostgreSQL server of one's own: a new cluster below a directory, reached by its socket there alone."""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

PASSWORD = "corRect-h0rse"
DEADLINE = 120


class PostgresServer:
    """A context manager; run by root, its programs run as the user postgres, or else nobody.

    Nobody gets in without the password, which `environment` has for clients that are started by tests.
    """

    def __init__(self) -> None:
        (self.programs,) = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=_version)[-1:]
        user = _ordinary_user()
        self.user = user.pw_name
        self._identity = (
            {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()} if os.geteuid() == 0 else {}
        )
        # A socket's path has 107 characters at most.
        self.directory = tempfile.mkdtemp(prefix="gb-pg-", dir="/tmp")
        os.chown(self.directory, user.pw_uid, user.pw_gid)
        self.environment = {
            "PGHOST": self.directory,
            "PGUSER": "postgres",
            "PATH": f"{self.programs}:{os.environ['PATH']}",
        }

    def __enter__(self) -> "PostgresServer":
        password_file = Path(self.directory, "password")
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        data = f"{self.directory}/data"
        try:
            self._run(
                "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "scram-sha-256",
                f"--pwfile={password_file}",
                "-N",
            )
            options = f"-k {self.directory} -c listen_addresses='' -c fsync=off"
            self._run("pg_ctl", "-D", data, "-l", f"{self.directory}/log", "-w", "-o", options, "start")
        except BaseException:
            shutil.rmtree(self.directory)
            raise
        return self

    def __exit__(self, *details: object) -> None:
        try:
            self._run("pg_ctl", "-D", f"{self.directory}/data", "-w", "-m", "immediate", "stop")
        finally:
            shutil.rmtree(self.directory)

    def query(self, sql: str, database: str = "postgres") -> str:
        """What psql prints of the answer, unaligned."""
        argv = ["psql", "-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]
        environment = {**os.environ, **self.environment, "PGPASSWORD": PASSWORD}
        done = subprocess.run(
            argv, input=sql, env=environment, capture_output=True, text=True, timeout=DEADLINE, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self) -> str:
        return Path(self.directory, "log").read_text(errors="replace")

    def _run(self, program: str, *arguments: str) -> None:
        # The server would hold a pipe open for as long as it runs.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [f"{self.programs}/{program}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                timeout=DEADLINE,
                **self._identity,
            )
            output.seek(0)
            assert done.returncode == 0, output.read().decode(errors="replace")


def _ordinary_user() -> pwd.struct_passwd:
    """The server refuses to run as root; where it was unpacked only, its own user is not there."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _version(path: str) -> float:
    return float(path.split("/")[-2])
