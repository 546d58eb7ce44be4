"""Many lines written together, none kept back for long."""

from guerillabackup.cli.quick_output import MAX_LINES, QuickOutput


def test_the_first_line_is_written_at_once_and_the_others_together_in_their_order(capsys):
    output = QuickOutput("stopped")
    output.write("0\n")
    assert capsys.readouterr().out == "0\n"
    for number in range(1, MAX_LINES * 2):
        output.write(f"{number}\n")
    output.flush()
    output.flush()
    assert capsys.readouterr().out.split() == [str(number) for number in range(1, MAX_LINES * 2)]
