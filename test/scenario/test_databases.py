"""Goal: databases that were dumped by a CommandBackupUnit come back, and nobody sees a password meanwhile.

A real PostgreSQL and a real SQLite, elements compressed, encrypted and signed, everything by the commands
that an administrator types.
"""

import json
import os
import subprocess
import sys
import threading

import pytest
from postgres import PASSWORD, PostgresServer
from sample_source import gpg_home

from guerillabackup.signature import KeyPurpose, Keyring

PROGRAM = (sys.executable, "-c", "from guerillabackup.cli.main import main; main()")
TABLES = """
CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL UNIQUE, photo bytea);
INSERT INTO customer (name, photo)
  SELECT 'name ' || n, decode(md5(n::text), 'hex') FROM generate_series(1, 20000) n;
CREATE TABLE invoice
  (id serial PRIMARY KEY, customer int REFERENCES customer, amount numeric(10, 2), paid date);
INSERT INTO invoice (customer, amount, paid)
  SELECT n, n * 1.01, date '2026-01-01' + n FROM generate_series(1, 300) n;
CREATE VIEW unpaid AS SELECT * FROM invoice WHERE paid IS NULL;
CREATE FUNCTION total() RETURNS numeric LANGUAGE sql AS 'SELECT sum(amount) FROM invoice';
"""
CONTENT = """
SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM customer c;
SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM invoice i;
SELECT total(); SELECT count(*) FROM unpaid;
SELECT conname, contype FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1;
SELECT last_value FROM customer_id_seq;
"""


class Host:
    """A configuration whose elements are encrypted and signed, and the commands run on it as programs."""

    def __init__(self, base, private_keyring):
        self.base = base
        self.etc = base / "etc"
        self.output = ""
        (self.etc / "units").mkdir(parents=True, mode=0o700)
        (self.etc / "keys").mkdir(mode=0o700)
        (base / "data").mkdir(mode=0o700)
        self.etc.chmod(0o700)
        with Keyring(str(self.etc / "keys")) as keyring:
            keyring.create_key("host", KeyPurpose.SIGN)
        argv = ["gpg", "--batch", "--homedir", private_keyring, "--export", "backup"]
        public_key = subprocess.run(argv, check=True, capture_output=True).stdout
        argv = ["gpg", "--batch", "--homedir", str(self.etc / "keys"), "--import"]
        subprocess.run(argv, input=public_key, check=True, capture_output=True)
        (self.etc / "config").write_text(
            "import guerillabackup\n"
            f"GeneralPersistencyBaseDir = {str(base / 'state')!r}\n"
            f"GeneralRuntimeDataDir = {str(base / 'run')!r}\n"
            f"DefaultFileSystemSinkBaseDir = {str(base / 'data')!r}\n"
            "GeneralSigningKey = 'host'\n"
            "gzip = guerillabackup.OSProcessPipelineElement('gzip', ['gzip', '-c'])\n"
            "GeneralDefaultCompressionElement = gzip\n"
            "GeneralDefaultEncryptionElement = guerillabackup.GpgEncryptionPipelineElement('backup')\n"
            f"GeneralPrivateKeyringDir = {str(private_keyring)!r}\n"
        )
        (self.etc / "units" / "Command").write_text(
            "from guerillabackup.units.command import CommandBackupUnit as backupGeneratorUnitClass\n"
        )

    def configure(self, sources):
        listed = {url: {"Timing": [0, 60, None, None], **settings} for url, settings in sources.items()}
        (self.etc / "units" / "Command.config").write_text(f"CommandBackupUnitConfigList = {listed!r}\n")

    def __call__(self, *arguments, status=0):
        environment = {**os.environ, "GUERILLABACKUP_CONFIG_DIR": str(self.etc)}
        done = subprocess.run([*PROGRAM, *arguments], env=environment, capture_output=True, timeout=300)
        text = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        self.output += text
        assert done.returncode == status, text
        return done.stdout


class ArgumentWatch:
    """Reads the arguments of all processes, again and again, for as long as the context lasts."""

    def __init__(self):
        self.seen = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="argument-watch")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *details):
        self._is_over.set()
        self._thread.join()

    def _look(self):
        while not self._is_over.wait(0.005):
            for name in os.listdir("/proc"):
                if name.isdigit():
                    try:
                        with open(f"/proc/{name}/cmdline", "rb") as file:
                            self.seen.add(file.read())
                    except OSError:
                        continue  # it has ended


@pytest.fixture(scope="module")
def private_keyring():
    with gpg_home(("backup", "default")) as home:
        yield home


@pytest.fixture(scope="module")
def server():
    with PostgresServer() as server:
        yield server


@pytest.fixture
def host(tmp_path, private_keyring):
    return Host(tmp_path, private_keyring)


@pytest.fixture
def database(server):
    server.query("CREATE DATABASE shop")
    server.query(TABLES, "shop")
    yield server
    server.query("DROP DATABASE IF EXISTS shop WITH (FORCE)")


def drop(server):
    server.query("DROP DATABASE shop WITH (FORCE)")
    server.query("CREATE DATABASE shop")


FORMATS = {
    "custom": (
        ["pg_dump", "--no-password", "--format=custom", "shop"],
        ["pg_restore", "--no-password", "--exit-on-error", "--single-transaction", "--dbname=shop"],
    ),
    "plain": (
        ["pg_dump", "--no-password", "shop"],
        ["psql", "--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=shop"],
    ),
}


def private(path, text):
    path.touch(0o600)
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("secret", ["EnvironmentFile", "CredentialFiles"])
@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_a_dropped_postgresql_database_comes_back(host, database, kind, secret):
    dump, restore = FORMATS[kind]
    if secret == "EnvironmentFile":
        settings = {secret: private(host.base / "env", f"PGPASSWORD={PASSWORD}\n")}
    else:
        # As root, the command's user may not read the file: it gets a copy in memory.
        settings = {secret: {"PGPASSFILE": private(host.base / "pgpass", f"*:*:*:*:{PASSWORD}\n")}}
    host.configure(
        {
            "/host/shop": {
                "Command": dump,
                "RestoreCommand": restore,
                "Environment": database.environment,
                "User": database.user,
                "MinimumSize": 10_000,
                **settings,
            }
        }
    )
    before = database.query(CONTENT, "shop")
    with ArgumentWatch() as watch:
        host("config", "check")
        host("generator", "run", "--once")
        drop(database)
        host("restore", "/host/shop", "--run")
    assert database.query(CONTENT, "shop") == before
    assert any(dump[0].encode() in argv for argv in watch.seen)
    assert not any(PASSWORD.encode() in argv for argv in watch.seen)
    for text in (host.output, host("config", "show", "--unit", "Command").decode(), database.log()):
        assert PASSWORD not in text
    for path in (host.base / "state").rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes()


def test_a_wrong_password_stores_nothing_and_is_told_without_it(host, database):
    secret = private(host.base / "env", "PGPASSWORD=wrong-p4ssword\n")
    settings = {"Environment": database.environment, "EnvironmentFile": secret}
    host.configure({"/host/shop": {"Command": FORMATS["plain"][0], **settings}})
    host("generator", "run", "--once", status=3)
    assert "password authentication failed" in host.output
    assert "wrong-p4ssword" not in host.output
    assert not list((host.base / "data").rglob("*.info"))


def test_a_dump_that_does_not_fit_leaves_the_database_as_it_was(host, database):
    dump, restore = FORMATS["custom"]
    settings = {
        "Environment": database.environment,
        "EnvironmentFile": private(host.base / "env", f"PGPASSWORD={PASSWORD}\n"),
    }
    host.configure({"/host/shop": {"Command": dump, "RestoreCommand": restore, **settings}})
    host("generator", "run", "--once")
    before = database.query(CONTENT, "shop")
    host("restore", "/host/shop", "--run", status=1)
    assert "already exists" in host.output
    assert "pg_restore may have kept what it had taken until then" in host.output
    assert database.query(CONTENT, "shop") == before


def test_an_sqlite_database_in_use_comes_back(host):
    path, restored = host.base / "notes.db", host.base / "restored.db"
    schema = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT, image BLOB);"
    rows = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 5000)"
        " INSERT INTO note SELECT i, 'äöü '' ' || i, randomblob(50) FROM n;"
    )
    subprocess.run(["sqlite3", str(path), schema + rows], check=True)
    host.configure(
        {
            "/host/notes": {
                "Command": ["sqlite3", "-readonly", "-bail", str(path), ".dump"],
                "RestoreCommand": ["sqlite3", "-bail", str(restored)],
            }
        }
    )
    host("generator", "run", "--once")
    host("restore", "/host/notes", "--run")
    everything = "SELECT id, text, hex(image) FROM note ORDER BY id"
    read = [
        subprocess.run(["sqlite3", str(each), everything], check=True, capture_output=True).stdout
        for each in (path, restored)
    ]
    assert read[0] == read[1] != b""
    other = host.base / "other.db"
    host("restore", "/host/notes", "--into-command", "--", "sqlite3", "-bail", str(other))
    assert (
        subprocess.run(["sqlite3", str(other), everything], check=True, capture_output=True).stdout == read[0]
    )
    (record,) = json.loads(host("restore", "/host/notes", "--list", "--json"))
    assert record["verified"] is True
    assert record["signed_by"]
    assert record["content_type"] == "command-output"
    assert host("restore", "/host/notes", "--to-stdout").endswith(b"COMMIT;\n")
