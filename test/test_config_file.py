"""One file of an operator: trusted or refused, and whatever it holds, only problems come out."""

import os

import pytest

from guerillabackup.config_file import MAX_FILE_SIZE, execute_file, find_write_permissions, read_trusted_file
from guerillabackup.errors import ConfigError


def write(directory, data, mode=0o600):
    path = directory / "config"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_can_write_is_refused_with_the_remedy(tmp_path, mode):
    path = write(tmp_path, "A = 1\n", mode)
    with pytest.raises(ConfigError, match="others can write it") as caught:
        read_trusted_file(path)
    assert str(caught.value).endswith(f"chmod go-w {path}")


def test_a_file_that_others_can_write_is_not_executed(tmp_path):
    path = write(tmp_path, f"open({str(tmp_path / 'done')!r}, 'w')\n", 0o666)
    assert execute_file(path, {}).problems
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("mode", [0o1777, 0o770, 0o703])
def test_a_file_in_a_directory_that_others_can_write_is_refused(tmp_path, mode):
    directory = tmp_path / "open"
    directory.mkdir()
    path = write(directory, "A = 1\n")
    directory.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_trusted_file(path)
    assert f"chmod go-w {directory}" in str(caught.value)


def test_the_directory_a_link_leads_to_counts_too(tmp_path):
    (tmp_path / "open").mkdir()
    path = write(tmp_path / "open", "A = 1\n")
    (tmp_path / "open").chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert any(str(tmp_path / "open") in problem for problem in find_write_permissions(str(link)))


def test_a_file_of_another_user_is_refused_with_the_remedy(tmp_path):
    path = write(tmp_path, "A = 1\n")
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        path = "/proc/1/comm"  # what a user finds that is root's is fine; there is no other way to have one
        assert find_write_permissions("/etc/passwd") == []
        return
    with pytest.raises(ConfigError, match=r"belongs to user 12345.*as that user, with: sudo -u '#12345'"):
        read_trusted_file(path)


def test_what_is_no_readable_text_file_is_a_configuration_error_that_names_it(tmp_path):
    (tmp_path / "directory").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name, reason in (
        ("missing", "No such file"),
        ("directory", "not a regular file"),
        ("fifo", "not a regular file"),
    ):
        with pytest.raises(ConfigError, match=f"{tmp_path / name}: .*{reason}"):
            read_trusted_file(str(tmp_path / name))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"A = 1\nB = '\xff'\n", ":2: is not UTF-8 text: byte 0xff"),
        (b"A = 1\n\nB = '\0'\n", ":3: holds a NUL byte"),
        (b"#" * (MAX_FILE_SIZE + 1), f": is longer than {MAX_FILE_SIZE} bytes"),
        (b"A = 1\nA = (\n", ":2: syntax error: '(' was never closed"),
        (b"return 1\n", ":1: syntax error: 'return' outside function"),
        (b"A = 1\nexit(3)\n", ":2: ends the program, which a configuration must not do"),
        (b"def f(): f()\nf()\n", ":1: RecursionError: maximum recursion depth exceeded"),
        (b"import json\n\njson.loads('{')\n", ":3: JSONDecodeError: "),
        (b"import no_such_module\n", ":1: No module named 'no_such_module'"),
        (b"raise type('Odd', (Exception,), {'__str__': lambda self: 1})\n", ":1: Odd: (no text)"),
        (b"A = " + b"(" * 1000, ":1: syntax error: too many nested parentheses"),
        (b"A = " + b"-" * 200000 + b"1", ": "),
    ],
)
def test_whatever_goes_wrong_is_a_problem_with_its_line(tmp_path, data, reason):
    path = write(tmp_path, data)
    (problem,) = execute_file(path, {}).problems
    assert problem.startswith(f"{path}{reason}")
    assert len(problem) < 1000
    assert "\n" not in problem


def test_what_was_bound_before_an_error_is_there(tmp_path):
    namespace = {}
    execution = execute_file(write(tmp_path, "A = 1\nB = 2\n1 / 0\n"), namespace)
    assert (namespace["A"], namespace["B"]) == (1, 2)
    assert execution.problems == (f"{execution.path}:3: ZeroDivisionError: division by zero",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "name 'nonsense' is not defined"),
        ("from guerillabackup.errors import ConfigError; raise ConfigError('is wrong')", "is wrong"),
        ("{}['x']", "KeyError: 'x'"),
    ],
)
def test_a_class_of_errors_is_named_only_where_the_text_does_not_say_all(tmp_path, line, said):
    execution = execute_file(write(tmp_path, f"{line}\n"), {})
    assert execution.problems == (f"{execution.path}:1: {said}",)


def test_the_last_assignment_of_a_name_is_known_wherever_it_stands(tmp_path):
    text = "A = 1\nif A:\n    A, B = 2, 3\nfor C in [1]: pass\ndef f():\n    A = 9\nD = [A for A in [1]]\n"
    execution = execute_file(write(tmp_path, text), {})
    assert execution.lines == {"A": 3, "B": 3, "C": 4, "D": 7}
    assert execution.where("A") == f"{execution.path}:3"
    assert execution.where("f") == execution.path


def test_what_a_file_prints_does_not_get_into_our_output(tmp_path, capsys):
    execute_file(write(tmp_path, "print('hello')\n"), {})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_warnings_of_the_compiler_are_not_ours(tmp_path):
    assert execute_file(write(tmp_path, "A = '\\d'\n"), {}).problems == ()


def test_an_interrupt_comes_through(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        execute_file(write(tmp_path, "raise KeyboardInterrupt\n"), {})
