"""What a source's configuration says, and the tar command that comes of it."""

import subprocess

import pytest

from guerillabackup.element import BackupType, SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.units.tar_source import (
    TarSource,
    find_idle_excludes,
    parse_sources,
    split_sources,
)

TIMING = [1, 2, None, None]


def parse(**settings):
    (source,) = parse_sources({"/host/a": {"FullBackupTiming": TIMING, **settings}})
    return source


def test_a_source_without_settings_is_the_whole_machine_without_the_spool():
    source = parse()
    assert (source.root, source.include) == ("/", (".",))
    assert source.exclude == ("./var/lib/guerillabackup/data",)
    assert (source.ignores_races, source.keep_indices, source.policy, source.inc_timing) == (
        False,
        0,
        None,
        None,
    )


def test_another_root_leaves_out_nothing_by_itself():
    assert parse(Root="/home").exclude == ()


def test_what_is_left_out_is_what_the_configuration_says():
    assert parse(Exclude=["./proc"]).exclude == ("./proc",)
    assert parse(Exclude=[]).exclude == ()


def test_all_settings_of_the_original_are_read():
    source = parse(
        PreBackupCommand=["/bin/pre", "x"],
        PostBackupCommand=("/bin/post",),
        Root="/srv",
        Include=["a", "b"],
        IgnoreBackupRaces=True,
        IncBackupTiming=[3, 4, 5, 0],
        FullOverrideCommand=["/bin/full"],
        IncOverrideCommand=["/bin/inc"],
        KeepIndices=-1,
        Policy="default",
        EncryptionKey="key",
    )
    assert source.pre_command == ("/bin/pre", "x")
    assert source.post_command == ("/bin/post",)
    assert source.include == ("a", "b")
    assert source.override(BackupType.FULL) == ("/bin/full",)
    assert source.override(BackupType.INC) == ("/bin/inc",)
    assert (source.ignores_races, source.keep_indices) == (True, -1)
    assert (source.policy, source.encryption_key) == ("default", "key")


def test_a_setting_of_none_is_not_set():
    assert parse(PreBackupCommand=None, EncryptionKey=None, Policy=None, Exclude=None) == parse()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PreBackupCommand", "/bin/true"),
        ("PreBackupCommand", []),
        ("PostBackupCommand", [""]),
        ("PostBackupCommand", ["/bin/x", 5]),
        ("FullOverrideCommand", ["a\0b"]),
        ("Root", "relative"),
        ("Root", 5),
        ("Include", []),
        ("Include", ["a", ""]),
        ("Include", "."),
        ("Exclude", "./proc"),
        ("IgnoreBackupRaces", 1),
        ("FullBackupTiming", [1, 2]),
        ("IncBackupTiming", "daily"),
        ("KeepIndices", -2),
        ("KeepIndices", True),
        ("KeepIndices", "3"),
        ("Policy", ""),
        ("Policy", "a;b"),
        ("EncryptionKey", ""),
        ("EncryptionKey", []),
        ("EncryptionKey", ["a", ""]),
    ],
)
def test_a_wrong_value_is_refused_with_source_and_setting(name, value):
    with pytest.raises(ConfigError, match=f"source /host/a: {name}: "):
        parse(**{name: value})


def test_a_misspelt_setting_is_told_with_the_one_that_is_meant():
    with pytest.raises(ConfigError, match="unknown setting 'IgnoreBackupRace'; is IgnoreBackupRaces meant"):
        parse(IgnoreBackupRace=True)


def test_an_unknown_setting_is_told_with_all_there_are():
    with pytest.raises(ConfigError, match="unknown setting 'Zzzz'; there are PreBackupCommand"):
        parse(Zzzz=1)


def test_all_problems_of_all_sources_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        parse_sources({"/a": {"Root": 1, "Rot": 2}, "/b": [], "/c": {"FullBackupTiming": TIMING}})
    problems = error.value.problems
    assert [problem.split(":")[0] for problem in problems] == ["source /a"] * 3 + ["source /b"]
    assert "FullBackupTiming is not set; weekly: 'FullBackupTiming': [" in problems[2]


def test_a_mistake_in_one_source_keeps_no_other_from_being_run():
    listed = split_sources({"/a": {"Rot": "/"}, "/b": {"FullBackupTiming": TIMING}})
    assert [source.source_url.text for source in listed.sources] == ["/b"]
    assert [url.text for url in listed.refused] == ["/a"]


@pytest.mark.parametrize("value", [None, [], "x"])
def test_what_is_no_dict_of_sources_is_refused_as_a_whole(value):
    with pytest.raises(ConfigError):
        split_sources(value)


@pytest.mark.parametrize("key", ["no slash", "/a.members", 5, "/a/../b", "/b/"])
def test_a_key_that_names_no_source_keeps_no_other_from_being_run(key):
    value = {key: {"FullBackupTiming": TIMING}, "/b": {"FullBackupTiming": TIMING}}
    assert [source.source_url.text for source in split_sources(value).sources] == ["/b"]
    with pytest.raises(ConfigError):
        parse_sources(value)


def test_no_sources_are_none():
    assert parse_sources({}) == []


def test_two_sources_with_one_index_file_are_both_refused():
    settings = {"FullBackupTiming": TIMING}
    listed = split_sources({"/a/b": settings, "/a-b": settings, "/c": settings})
    assert [source.source_url.text for source in listed.sources] == ["/c"]
    assert all("a-b.index: put one of them into a unit of its own" in str(e) for e in listed.refused.values())
    assert {url.text for url in listed.refused} == {"/a/b", "/a-b"}


def test_every_index_file_has_a_name_the_file_system_takes():
    source = TarSource(SourceUrl("/" + "a" * 150 + "/" + "b" * 150), parse().full_timing)
    assert len(f"{source.index_prefix}.index.bz2.20200101000000") == 255


def test_what_is_included_is_never_taken_for_an_option():
    command = parse(Include=["--checkpoint-action=exec=sh", "-x"]).tar_command(None, 5)
    assert command[-3:] == ["--", "--checkpoint-action=exec=sh", "-x"]


def test_the_index_is_used_only_where_there_is_one():
    assert not any("incremental" in part for part in parse().tar_command(None, 5))
    assert "--listed-incremental=/state/x" in parse().tar_command("/state/x", 5)


def settings(**values):
    return {"/host/a": {"FullBackupTiming": [0, 60, None, None], **values}}


@pytest.mark.parametrize(
    ("root", "member", "remedy"),
    [
        ("/srv", "/etc", "set Root to '/'"),
        ("/srv", "/srv/www", "write './www'"),
        ("/srv", "/srv", "write '.'"),
        ("/srv", "../etc", "choose a Root above it"),
        ("/srv", "a/../b", "write './b'"),
        ("/", "./..", "write '.'"),
    ],
)
def test_what_is_not_below_the_root_is_refused_with_what_to_write(root, member, remedy):
    with pytest.raises(ConfigError) as error:
        parse_sources(settings(Root=root, Include=[member]))
    assert remedy in str(error.value)


def test_an_absolute_name_below_a_root_of_all_is_allowed():
    (source,) = parse_sources(settings(Root="/", Include=["/etc", "./..."]))
    assert source.include == ("/etc", "./...")


def test_a_command_of_the_sites_own_takes_no_names_from_include():
    parse_sources(settings(Root="/srv", Include=["/etc"], FullOverrideCommand=["dump"]))


@pytest.mark.parametrize(
    ("root", "include", "pattern", "better"),
    [
        ("/", ["."], "/proc", "./proc"),
        ("/", ["."], "./proc/", "./proc"),
        ("/", ["."], "/proc/", "./proc"),
        ("/", ["etc"], "/etc/x", "etc/x"),
        ("/", ["./etc"], "/etc/x", "./etc/x"),
        ("/", ["etc"], "./etc/x", "etc/x"),
        ("/", ["/etc"], "/etc/x/", "/etc/x"),
        ("/a/src", ["."], "/a/src/x", "./x"),
        ("/a/src", ["."], "/x", "./x"),
        ("/a/src/", ["d"], "/a/src/d/*.o", "d/*.o"),
        ("/", ["/etc"], "/etc/x", "/etc/x"),
        ("/", ["."], "./proc", "./proc"),
        ("/", ["./a"], "a/x", "a/x"),
        ("/", ["."], "*.o", "*.o"),
    ],
)
def test_a_pattern_that_never_matches_is_told_with_one_that_tar_takes(root, include, pattern, better):
    (source,) = parse_sources(settings(Root=root, Include=include, Exclude=[pattern]))
    found = find_idle_excludes(source)
    assert len(found) == (better != pattern)
    assert all(text.endswith(f"write {better!r}") for text in found)


@pytest.mark.parametrize("pattern", ["/var/x", "./var/x"])
def test_a_pattern_of_what_is_not_included_is_told(pattern):
    (source,) = parse_sources(settings(Root="/", Include=["etc"], Exclude=[pattern]))
    assert find_idle_excludes(source) == [
        f"Exclude: {pattern!r} never matches: nothing of Include is there; leave it out"
    ]


def test_what_is_advised_leaves_out_what_was_meant(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    (source,) = parse_sources(settings(Root=str(tmp_path), Exclude=[f"{tmp_path}/x"]))
    (text,) = find_idle_excludes(source)
    (source,) = parse_sources(settings(Root=str(tmp_path), Exclude=[text.split("'")[-2]]))
    archive = subprocess.run(source.tar_command(None, 2), check=True, capture_output=True).stdout
    names = subprocess.run(["tar", "-t"], input=archive, check=True, capture_output=True).stdout
    assert names.split() == [b"./", b"./y/"]
