"""The numbers of doc/decisions/: each is one decision's, and what refers to one finds it."""

import re
from collections import Counter

import pytest

REFERENCE = re.compile(r"doc/decisions/([0-9]{4}[\w.-]*)")


@pytest.fixture
def root(request):
    return request.config.rootpath


@pytest.fixture
def names(root):
    return sorted(path.name for path in (root / "doc" / "decisions").iterdir())


def test_no_two_decisions_have_one_number(names):
    numbers = Counter(name[:4] for name in names)
    assert [name for name in names if numbers[name[:4]] > 1] == []


def test_the_number_is_in_the_name_of_the_file_alone(root, names):
    titles = [(root / "doc" / "decisions" / name).read_text().split("\n", 1)[0] for name in names]
    assert [title for title in titles if re.match(r"# [A-Z]", title) is None] == []


def test_what_is_referred_to_is_there(root, names):
    files = [
        *root.glob("*.md"),
        *root.glob("doc/*.txt"),
        *(path for path in root.glob("etc/**/*") if path.is_file()),
        *root.glob("guerillabackup/**/*.py"),
    ]
    missing = [
        f"{path.relative_to(root)}: {reference}"
        for path in files
        for reference in REFERENCE.findall(path.read_text())
        if not any(name.startswith(reference.rstrip(".")) for name in names)
    ]
    assert missing == []
