"""The template of the log unit backs up nothing as it is; its examples, and the original's, are right."""

import pytest
from config_template import ConfigTemplate

from guerillabackup.units.logfile import CONFIG_KEY
from guerillabackup.units.logfile_input import check_inputs

TEMPLATE = ConfigTemplate("LogfileBackupUnit", CONFIG_KEY)
ORIGINALS = r"""
import guerillabackup
LogBackupUnitInputList = []
LogBackupUnitInputList.append((
    '/var/log',
    '^(auth\\.log|kern\\.log|messages|syslog)\\.(?P<oldserial>[0-9]+)(?:\\.(?P<compress>gz))?$',
    None, None, None))
LogBackupUnitInputList.append([
    '/var/log/tomcat8', '^(catalina)\\.(?P<serial>[0-9-]{10})\\.log(?:\\.(?P<compress>gz))?$',
    'catalina.log', None, None])
"""


def find(inputs, directory, name):
    """The sources and orders that the entries of a directory make of a name."""
    files = [item.match(name) for item in inputs if item.directory == directory]
    return [(str(file.source_url), file.serial, file.compression) for file in files if file is not None]


def test_as_it_is_it_backs_up_nothing(tmp_path):
    assert TEMPLATE.execute(tmp_path, TEMPLATE.text) == []


@pytest.mark.parametrize(
    ("directory", "name", "found"),
    [
        ("/var/log", "syslog.1", ("/var/log/syslog", "1", None)),
        ("/var/log", "mail.log.12.gz", ("/var/log/mail.log", "12", "gz")),
        ("/var/log", "btmp.1.xz", ("/var/log/btmp", "1", "xz")),
        ("/var/log", "secure-20240131.zst", ("/var/log/secure", "20240131", "zst")),
        ("/var/log/apt", "history.log.2.bz2", ("/var/log/apt/history.log", "2", "bz2")),
        (
            "/var/log/apache2",
            "www.example.org-access.log.1",
            ("/var/log/apache2/www.example.org-access.log", "1", None),
        ),
        ("/var/log/ulog", "ulogd.pcap.7.gz", ("/var/log/ulog/ulogd.pcap", "7", "gz")),
        (
            "/var/log/tomcat10",
            "catalina.2024-01-31.log",
            ("/var/log/tomcat10/catalina.log", "2024-01-31", None),
        ),
        ("/var/log/tomcat10", "catalina.out.1", ("/var/log/tomcat10/catalina.out", "1", None)),
        ("/srv/My Application/log", "audit.3.json", ("/myhost/application/audit.json", "3", None)),
    ],
)
def test_its_examples_take_what_they_say(tmp_path, directory, name, found):
    assert find(check_inputs(TEMPLATE.execute(tmp_path, TEMPLATE.uncommented)), directory, name) == [found]


@pytest.mark.parametrize("name", ["syslog", "mail.log", "secure", "syslog.1.gz.tmp", "lastlog", "btmp"])
def test_its_examples_take_no_live_log(tmp_path, name):
    assert find(check_inputs(TEMPLATE.execute(tmp_path, TEMPLATE.uncommented)), "/var/log", name) == []


def test_what_was_written_for_the_original_is_read(tmp_path):
    inputs = check_inputs(TEMPLATE.execute(tmp_path, ORIGINALS))
    assert find(inputs, "/var/log", "syslog.3.gz") == [("/var/log/syslog", "3", "gz")]
    assert find(inputs, "/var/log/tomcat8", "catalina.2024-01-31.log") == [
        ("/var/log/tomcat8/catalina.log", "2024-01-31", None)
    ]
