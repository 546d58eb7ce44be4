"""The page about storages says what the code does, where a table of it can be read."""

import re
from pathlib import Path

from guerillabackup.element import MAX_COMPONENT_LENGTH, MAX_METAINFO_SIZE, METAINFO_KEYS
from guerillabackup.element_json import MAX_DEPTH
from guerillabackup.storage.batch import FSYNC_BATCHES, MAX_BATCH, SLOW_SYNC_PER_ELEMENT
from guerillabackup.storage.file_element import LOCK_ATTEMPTS, NAMES_PER_DELETION

PAGE = (Path(__file__).parent.parent.parent / "doc" / "Storage.txt").read_text("utf-8")


def section(title: str) -> str:
    return re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def test_the_table_of_metadata_keys_has_every_key_and_no_other():
    assert re.findall(r"^    (\w+) {2,}", section("Metadata"), re.MULTILINE) == list(METAINFO_KEYS)


def test_the_states_are_numbered_without_gaps():
    numbers = [int(number) for number in re.findall(r"^S(\d+) {2,}", section("All states"), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_what_leftovers_are_called_stands_in_the_table_of_states():
    source = Path(__file__).parent.parent.parent / "guerillabackup" / "storage" / "default_file.py"
    names = re.findall(
        r'"((?:data|info) without (?:info|data)|not (?:finished|a file of an element))"',
        source.read_text("utf-8"),
    )
    assert len(set(names)) == 4
    for name in names:
        assert f'"{name}"' in section("All states")


def test_the_limits_on_the_page_are_those_of_the_code():
    text = " ".join(PAGE.split())
    for sentence in (
        f"at most {MAX_COMPONENT_LENGTH} characters",
        f"at most {MAX_METAINFO_SIZE // 1024} KiB",
        f"nested at most {MAX_DEPTH} deep",
        f"up to {MAX_BATCH} elements",
        f"more than {SLOW_SYNC_PER_ELEMENT * 1000:.0f} ms an element",
        f"the next {FSYNC_BATCHES} batches",
        f"one for every {NAMES_PER_DELETION} names",
    ):
        assert sentence in text, sentence
    assert (LOCK_ATTEMPTS, "three attempts" in text) == (3, True)
