"""Where an entry of a dict is set, and which entry a problem is about."""

import ast

import pytest

from guerillabackup.config_entry import find_entries, find_line

TEXT = """
Sources = {}
Sources['/h/a'] = {
    'Root': '/a',
    'Include': ['.'],
}
Sources['/h/b'] = common = {'Root': '/b'}
Sources['/h/b']['Exclude'] = [
    'x',
]
for name in names:
    Sources[name] = {}
Other = {
    '/h/a': dict(Root=1),
    **more,
    5: {},
    '/h/c': {
        'Root': '/c',
        'EncryptionKey': 'k'},
}
a, b = {'key': 1}, 2
"""


def test_entries_are_found_where_they_are_set_last():
    entries = find_entries(ast.parse(TEXT))
    assert entries[("Sources", "/h/a")] == 3
    assert entries[("Sources", "/h/a", "Include")] == 5
    assert entries[("Sources", "/h/b", "Exclude")] == 8
    assert entries[("common", "Root")] == 7
    assert entries[("Other", "/h/a")] == 14
    assert entries[("Other", "/h/c", "EncryptionKey")] == 19
    assert {path[1] for path in entries if path[0] == "Other"} == {"/h/a", "/h/c"}


@pytest.mark.parametrize(
    ("name", "problem", "line"),
    [
        ("Sources", "source /h/a: Root: 5 is not an absolute path", 4),
        ("Sources", "source /h/a: FullBackupTiming is not set", 3),
        ("Sources", "source /h/b: Exclude: 'x' is not a list of texts", 8),
        ("Sources", "source /h/b: unknown setting 'Exclude'; is it meant?", 8),
        ("Sources", "source /h/none: Root: 5 is not an absolute path", None),
        ("Other", "source /h/c: EncryptionKey: it is empty", 19),
        ("Other", "source URL '/h/c' is wrong", 17),
        ("Nothing", "source /h/a: Root: 5 is not an absolute path", None),
    ],
)
def test_the_line_is_that_of_what_a_problem_names(name, problem, line):
    assert find_line(find_entries(ast.parse(TEXT)), name, problem) == line
