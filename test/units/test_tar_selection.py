"""Settings that decide on what is archived: when they change, only a full backup is right."""

import json

import pytest
from sample_source import gpg_home
from tar_bench import URL, members
from trees import describe_tree

from guerillabackup.pipeline.gpg import GpgEncryptionPipelineElement
from guerillabackup.units.making import downstream_elements, recipients_of
from guerillabackup.units.tar_selection import digest_selection, why_selection_differs
from guerillabackup.units.tar_source import TarSource, parse_sources

TIMING = [10**7, 10**8, None, 0]


@pytest.fixture
def tree(bench):
    for name in ("one/file", "two/file", "two/note.txt"):
        (bench.tree / name).parent.mkdir(exist_ok=True)
        (bench.tree / name).write_text(name)
    return bench.tree


def source(**settings) -> TarSource:
    (parsed,) = parse_sources({"/host/tree": {"FullBackupTiming": TIMING, **settings}})
    return parsed


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"Include": ["one"]}, {"Include": ["one", "two"]}, "Include changed"),
        ({"Include": ["one", "two"]}, {"Include": ["two"]}, "Include changed"),
        ({"Exclude": ["*.txt"]}, {"Exclude": []}, "Exclude changed"),
        ({"Exclude": []}, {"Exclude": ["file"]}, "Exclude changed"),
    ],
)
def test_a_changed_selection_makes_a_full_backup_with_the_reason(bench, tree, before, after, changed):
    bench.run(**before)
    bench.run(**before)
    assert bench.run(**after).error is None
    assert bench.run(**after).error is None
    assert bench.types() == ["full", "inc", "full", "inc"]
    assert bench.warnings() == [f"a full backup is made in place of an incremental one: {changed}"]


def test_an_old_file_that_is_freed_from_exclude_is_restored(bench, tree):
    bench.run(Exclude=["*.txt"])
    bench.run()
    bench.run()
    assert describe_tree(bench.restore()) == describe_tree(tree)


def test_after_a_change_of_root_nothing_is_left_of_the_other_tree(bench, tree):
    bench.run(Root=str(tree / "one"), Include=["file"])
    bench.run(Root=str(tree / "two"), Include=["file"])
    assert bench.types() == ["full", "full"]
    assert (bench.restore() / "file").read_text() == "two/file"
    assert "Root changed" in bench.warnings()[0]


def test_a_storage_that_is_not_in_the_tree_any_more_makes_a_full_backup(bench, tree):
    bench.configuration["DefaultFileSystemSinkBaseDir"] = str(tree / "one")
    bench.run()
    bench.configuration["DefaultFileSystemSinkBaseDir"] = str(bench.spool)
    bench.run()
    assert bench.types() == ["full", "full"]
    assert "./one/file" in members(bench.chain()[1])


def test_another_command_in_the_place_of_tar_makes_a_full_backup(bench):
    def overrides(full: str, inc: str) -> dict[str, list[str]]:
        return {"FullOverrideCommand": ["/bin/echo", full], "IncOverrideCommand": ["/bin/echo", inc]}

    for full, inc in (("a", "b"), ("a", "b"), ("a", "c"), ("a", "c"), ("d", "c")):
        bench.run(**overrides(full, inc))
    assert bench.types() == ["full", "inc", "full", "inc", "full"]


@pytest.fixture(scope="module")
def home():
    """A gpg home with the keys `one` and `two`."""
    with gpg_home(("one", "default"), ("two", "default")) as home:
        yield home


def test_other_keys_to_encrypt_for_make_a_full_backup_with_the_reason(bench, tree, home):
    """A chain of which some elements are for one key and some for another is restored by neither."""
    key = "GeneralDefaultEncryptionElement"
    for names in (["one"], ["one"], ["one", "two"], ["two", "one"], ["two"], None, None):
        bench.configuration[key] = None if names is None else GpgEncryptionPipelineElement(names, home=home)
        assert bench.run().error is None
    assert bench.types() == ["full", "inc", "full", "inc", "full", "full", "inc"]
    assert bench.types(f"{URL}.members") == bench.types()
    assert bench.warnings() == 3 * [
        "a full backup is made in place of an incremental one: the keys that it is encrypted for changed, "
        "and whoever has one of them needs all of the chain"
    ]


def test_a_key_by_another_name_is_the_same_key():
    known = {"one": "A" * 40, "the one": "A" * 40}
    downstream = [downstream_elements(name, {}, "/keys", known.__getitem__) for name in known]
    assert [recipients_of(each) for each in downstream] == 2 * [("A" * 40,)]


def test_other_settings_change_nothing(bench, tree):
    bench.run(Include=["one", "two"], Exclude=["x", "y"])
    bench.run(
        Root=f"{tree}/",
        Include=["two", "one", "two"],
        Exclude=["y", "x"],
        IgnoreBackupRaces=True,
        Policy="other",
        KeepIndices=3,
        PreBackupCommand=["/bin/true"],
    )
    assert bench.types() == ["full", "inc"]


def test_a_selection_that_is_not_known_is_taken_to_be_unchanged_once(bench, tree):
    """As in the state of the original, or of a version that did not remember it."""
    bench.run(Include=["one"])
    extras = bench.state / "extras.current"
    remembered = json.loads(extras.read_text())
    del remembered[URL]["Selection"]
    extras.write_text(json.dumps(remembered))
    bench.run(Include=["one", "two"])
    bench.run(Include=["two"])
    assert bench.types() == ["full", "inc", "full"]


def test_what_tar_would_archive_means_nothing_beside_a_command():
    command = source(FullOverrideCommand=["/bin/dump"], Root="/one")
    remembered = digest_selection(command, ())
    assert why_selection_differs(remembered, command._replace(root="/two", include=("x",)), ()) is None
    assert why_selection_differs(remembered, source(Root="/one"), ()) == "FullOverrideCommand changed"


def test_a_digest_does_not_show_what_a_command_is_given():
    assert "secret" not in str(digest_selection(source(IncOverrideCommand=["/bin/dump", "secret"]), ()))
