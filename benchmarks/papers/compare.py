"""Every label and loss of the papers side by side on one data set, with the verdict.

Runs `robustlabels compare` with a config of this repository, or goes on with it, and
writes its table as `compare_DATA.json` beside the other results. Flags of the config,
such as --config.training.num_epochs=30, go to it.
"""

import json
from typing import Any

import study

from robustlabels import comparison, evaluation
from robustlabels._stopping import Signals, Stopped
from robustlabels.config_file import load_config

# Config file, and what its runs have in common.
DATA = {
    "digits": (
        "compare_digits.py",
        "The 8 x 8 digits of scikit-learn, 1,123 / 225 / 449; an MLP of 256, 256 and "
        "64 units, 20 epochs of Adam, the rate chosen of three on validation.",
    ),
    "mnist": (
        "compare.py",
        "MNIST, 50,000 / 10,000 / 10,000; a CNN of 16 and 32 channels and 64 features, "
        "30 epochs of Adam, the rate chosen of three on validation; the first 1,000 "
        "test images.",
    ),
}


def main():
    """Runs what is not finished yet, and writes the table."""
    parser = study.parser(__doc__, "compare_DATA")
    parser.set_defaults(seeds=None)
    args, flags = study.parse_of_data(parser, "compare", list(DATA))
    file, protocol = DATA[args.data]
    config = load_config(str(study.ROOT / "configs" / file))
    config.data.name = args.data
    if args.seeds is not None:
        config.num_seeds = args.seeds
    with Signals() as stop:
        try:
            read = comparison.read(config, flags)
            table = comparison.compare(read, args.workdir, stop=stop)
        except Stopped as stopped:
            raise SystemExit(f"{stopped}: the same command goes on.") from None
    result: dict[str, Any] = {"protocol": protocol}
    result |= json.loads(comparison.to_json(table))
    study.write(args.output, result | {"made": evaluation.provenance()})
    print(comparison.to_markdown(table))


if __name__ == "__main__":
    main()
