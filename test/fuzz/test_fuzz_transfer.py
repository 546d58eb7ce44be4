"""The fuzz target of the transfer protocol over its corpus, and over mutations of that from a fixed seed."""

from pathlib import Path
from random import Random

import fuzz_transfer
import pytest

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
MUTATIONS = 500
INTERESTING = [
    b"",
    b"\x00",
    b"\xff",
    b"\\",
    b'"',
    b"[",
    b"{",
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"\x00\x00\x10\x00",
]


def mutated(data: bytes, others: list[bytes], random: Random) -> bytes:
    """The same bytes with some changed, left out, doubled or taken from another input."""
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.randint(0, 8))
        other = random.choice(others)
        data = random.choice(
            [
                data[:start] + bytes([random.randrange(256)]) + data[start + 1 :],
                data[:start] + data[end:],
                data[:end] + data[start:],
                data[:start] + other[random.randint(0, len(other)) :],
                data[:start] + random.choice(INTERESTING) + data[end:],
            ]
        )
    return data


def test_the_corpus_reaches_every_target():
    reached = {path.read_bytes()[0] % len(fuzz_transfer.TARGETS) for path in CORPUS}
    assert reached == set(range(len(fuzz_transfer.TARGETS)))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_an_input_of_the_corpus_is_answered_by_values_or_errors_of_ours(path):
    fuzz_transfer.one_input(path.read_bytes())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_mutations_of_an_input_are_answered_by_values_or_errors_of_ours(path):
    others = [each.read_bytes() for each in CORPUS]
    random = Random(path.name)
    for _ in range(MUTATIONS):
        data = mutated(path.read_bytes(), others, random)
        try:
            fuzz_transfer.one_input(data)
        except BaseException as error:
            error.add_note(f"input: {data!r}")
            raise


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff\xff"])
def test_an_input_that_names_no_target_is_none(data):
    fuzz_transfer.one_input(data)
