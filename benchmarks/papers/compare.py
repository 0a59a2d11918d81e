"""Every label and loss of the papers side by side on one data set, with the verdict.

Runs `robustlabels compare`, or goes on with it, and writes its table as
`compare_DATA.json` beside the other results. Flags of the config, such as
--config.training.num_epochs=30, go to it. Several of these commands on one folder share
the work.
"""

import json
from typing import Any

import ml_collections
import study

from robustlabels import comparison, evaluation
from robustlabels._stopping import Signals, Stopped
from robustlabels.config_file import load_config

# What the runs have in common.
PROTOCOLS = {
    "digits": "The 8 x 8 digits of scikit-learn, 1,123 / 225 / 449; an MLP of 256, 256 "
    "and 64 units, 20 epochs of Adam, the rate chosen of three on validation; label "
    "arrays of 16 x 16; the first 200 test images are attacked, the standard ensemble "
    "with 50 steps, 3 targets and 1,000 queries.",
    "mnist": "MNIST, 50,000 / 10,000 / 10,000; a CNN of 8 and 16 channels and 64 "
    "features, 3 epochs of Adam, the rate chosen of three on validation; label arrays "
    "of 16 x 16; the first 300 test images are attacked, the standard ensemble with "
    "100 steps, 9 targets and 1,000 queries.",
}


def config_of(data: str) -> ml_collections.ConfigDict:
    """The config of a comparison: that of the digits, and what MNIST needs instead."""
    config = load_config(str(study.ROOT / "configs" / "compare_digits.py"))
    if data == "digits":
        return config
    users = load_config(str(study.ROOT / "configs" / "compare.py"))
    config.data = {"name": data, "balanced": True}
    config.encoder = {**users.encoder.to_dict(), "widths": (8, 16)}
    config.training = {"num_epochs": 3, "batch_size": 128}
    config.evaluation.update(
        epsilons="0.1, 0.15, 0.2, 0.25, 0.3", num_examples=300, corrupted_examples=200
    )
    config.evaluation.attacks.standard = {"name": "standard", "num_queries": 1000}
    return config


def main():
    """Runs what is not finished yet, and writes the table."""
    parser = study.parser(__doc__, "compare_DATA")
    parser.set_defaults(seeds=None)
    args, flags = study.parse_of_data(parser, "compare", list(PROTOCOLS))
    config = config_of(args.data)
    if args.seeds is not None:
        config.num_seeds = args.seeds
    with Signals() as stop:
        try:
            read = comparison.read(config, flags)
            table = comparison.compare(read, args.workdir, stop=stop)
        except Stopped as stopped:
            raise SystemExit(f"{stopped}: the same command goes on.") from None
    result: dict[str, Any] = {"protocol": PROTOCOLS[args.data]}
    result |= json.loads(comparison.to_json(table))
    study.write(args.output, result | {"made": evaluation.provenance()})
    print(comparison.to_markdown(table))


if __name__ == "__main__":
    main()
