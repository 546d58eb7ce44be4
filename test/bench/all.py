"""All benchmarks, one after the other; the options are those that every one has."""

import subprocess
import sys
from pathlib import Path

from measure import options

BENCHMARKS = ("startup.py", "small_elements.py", "logfile.py", "catalogue.py", "transfer.py", "backup.py")


def main() -> None:
    options(__doc__).parse_args()
    here = Path(__file__).parent
    for name in BENCHMARKS:
        # One that cannot run here, for lack of a program, does not keep the others from it.
        status = subprocess.run(
            [sys.executable, str(here / name), *sys.argv[1:]], stdin=subprocess.DEVNULL
        ).returncode
        if status != 0:
            print(f"{name} could not measure (status {status})", file=sys.stderr)


if __name__ == "__main__":
    main()
