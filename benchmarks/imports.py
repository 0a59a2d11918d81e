"""What `import robustlabels` takes beyond `import jax`, in fresh processes."""

import subprocess
import sys

from timing import arguments, compare, report

GOAL_SECONDS = 1.5
PROGRAM = """
import time
import jax
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""
LIBRARY, COMMAND = "import robustlabels", "import robustlabels.cli"


def fresh_process(statement):
    """The seconds that a statement takes after `import jax`."""

    def seconds():
        command = [sys.executable, "-c", PROGRAM.format(statement=statement)]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    return seconds


def main():
    """Times the library, and the command line for information."""
    args = arguments(__doc__, rounds=7)
    rows = compare(
        "import, beyond jax",
        {LIBRARY: fresh_process(LIBRARY), COMMAND: fresh_process(COMMAND)},
        rounds=args.rounds,
        goals={LIBRARY: GOAL_SECONDS},
    )
    report("imports", rows, args)


if __name__ == "__main__":
    main()
