"""The template names every setting, and its examples work when they are uncommented."""

import re

from config_template import ConfigTemplate
from tar_bench import TarBench, read_elements

from guerillabackup.units.tar_source import CONFIG_KEY, SETTING_NAMES, parse_sources

TEMPLATE = ConfigTemplate("TarBackupUnit", CONFIG_KEY)
ORIGINALS = """
TarBackupUnitConfigList = {}
TarBackupUnitConfigList['/root'] = {
  'PreBackupCommand': ['/usr/bin/touch', 'before'],
  'PostBackupCommand': ['/usr/bin/touch', 'after'],
  'Root': '/',
  'Include': ['.'],
  'Exclude': ['./proc', './sys', './var/lib/guerillabackup/data'],
  'IgnoreBackupRaces': False,
  'FullBackupTiming': [(7*24-4)*3600, (7*24+4)*3600, 7*24*3600, 0],
  'IncBackupTiming': [20*3600, 28*3600, 24*3600, 0],
  'Policy': 'default', 'EncryptionKey': None}
"""


def test_as_it_is_it_backs_up_nothing(tmp_path):
    assert TEMPLATE.execute(tmp_path, TEMPLATE.text) == {}


def test_every_setting_is_explained():
    explained = re.findall(r"^# ([A-Z][A-Za-z]+) +[A-Z0-9]", TEMPLATE.text, flags=re.M)
    assert set(SETTING_NAMES) <= set(explained)


def test_its_examples_are_sources_as_they_should_be(tmp_path):
    sources = parse_sources(TEMPLATE.execute(tmp_path, TEMPLATE.uncommented))
    assert [str(source.source_url) for source in sources] == [
        "/myhost/system/root",
        "/myhost/data/home",
        "/myhost/data/database",
    ]


def test_its_examples_run(tmp_path):
    sources = TEMPLATE.execute(tmp_path, TEMPLATE.uncommented)
    bench = TarBench(tmp_path)
    (bench.tree / "file").write_text("content")
    for settings in sources.values():
        settings["Root"] = str(bench.tree)
    outcomes = bench.run_all(sources)
    assert [outcome.error for outcome in outcomes] == [None] * len(sources)
    assert len(read_elements(bench.storage, "/myhost/data/home.members")) == 1


def test_what_was_written_for_the_original_is_read(tmp_path):
    (source,) = parse_sources(TEMPLATE.execute(tmp_path, ORIGINALS))
    assert source.exclude == ("./proc", "./sys", "./var/lib/guerillabackup/data")
    assert source.inc_timing is not None
    assert source.policy == "default"
