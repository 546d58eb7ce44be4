"""What starting the command costs: its help page beside a Python that imports click and does nothing else."""

import sys
from pathlib import Path

from measure import Subject, finish, measure, options, report, run_command


def main() -> None:
    arguments = options(__doc__).parse_args()
    command = str(Path(sys.executable).parent / "guerillabackup")
    results = measure(
        [
            Subject("import click", lambda: run_command([sys.executable, "-c", "import click"])),
            Subject("guerillabackup --help", lambda: run_command([command, "--help"])),
            Subject("python alone", lambda: run_command([sys.executable, "-c", ""])),
        ],
        runs=5 if arguments.quick else max(15, arguments.runs),
    )
    lines: list[str] = []
    report("starting", results, "import click", "guerillabackup --help within 1.5 of import click", lines)
    finish(lines)


if __name__ == "__main__":
    main()
