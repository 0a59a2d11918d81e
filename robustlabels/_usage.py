"""What the commands print when asked for help."""

USAGE = """\
robustlabels: other labels and losses, and whether they make a classifier robust.

  robustlabels train --config=FILE[:ARG] [--config.a.b=VALUE ...] [--workdir=DIR]
      Trains what a config file describes, keeps the best model on validation,
      attacks it, prints a table and writes a report. Results go to DIR; the same
      command goes on with what was interrupted there.
  robustlabels evaluate --workdir=DIR [--config=FILE] [--config.evaluation.b=VALUE ...]
      Attacks the best model of a finished run again, with other attacks or epsilons.
  robustlabels transfer --workdirs DIR DIR ... --out=DIR [--attack=NAME]
      Makes adversarial images for each of several runs, and feeds them to all.
  robustlabels sweep --config=FILE[:ARG] --vary=KEY=V1,V2 [--vary=...] --workdir=DIR
      Trains and attacks every combination of the values, each a run of its own.
  robustlabels compare --config=FILE[:ARG] [--config.data.name=npz:FILE] [--workdir=DIR]
      Trains every objective of a list alike, attacks them all, and says what helps.
  robustlabels report DIR ... [--output=FILE]
      Renders runs and sweeps side by side into one HTML page.
  robustlabels labels --config=FILE[:ARG] --out=DIR
      Writes the label arrays of a config, to look at and to listen to.
  robustlabels data prepare NAME [--data_dir=DIR]
      Lets TFDS download and prepare a data set, once; needs the extra `prepare`.

Examples:
  robustlabels train --config=configs/digits_dlvq.py
  robustlabels train --config=configs/mnist_dlvq.py:bn --config.training.num_epochs=20
  robustlabels evaluate --workdir=runs/mine --config.evaluation.epsilons=0.1,8/255
  robustlabels sweep --config=configs/digits_dlvq.py --vary=training.patience=0,5 \\
      --vary=objective.tau_end=1,30 --workdir=runs/noise
  robustlabels compare --config=configs/compare.py --config.data.name=npz:my.npz
  robustlabels report runs/mine runs/noise --output=report.html

`robustlabels train --config=FILE --help` lists every field of that config.
"""

TRAIN_HELP = """\
robustlabels train --config=FILE[:ARG] [--config.a.b=VALUE ...] [--workdir=DIR]

Trains what FILE describes, attacks the best model and prints a table. DIR, by default
a new folder below runs/, gets config.json, metrics.jsonl, TensorBoard events,
checkpoints/, records in evaluation/, and report.html. The same command on the same
folder goes on where it was interrupted, and ends with the same numbers; a folder of
another config is refused, never overwritten.

  --config          a Python file that defines get_config, such as
                    configs/mnist_dlvq.py; ARG is handed to it
  --config.a.b      another value for a field, such as --config.training.num_epochs=20,
                    --config.encoder.widths="(300, 100)" or --config.optimizer.name=sgd
  --config.num_seeds=3
                    trains three replicas in one program, with the seeds config.seed,
                    config.seed + 1, ...; tables show mean ± standard deviation
  --workdir         folder for the results

Every batch is split over all devices that JAX sees. Ctrl-C or SIGTERM saves and ends.

Data sets: digits, fake, idx:FOLDER, npz:FILE, or the name of a set prepared by TFDS in
--config.data.data_dir, $TFDS_DATA_DIR or ~/tensorflow_datasets.

Example: robustlabels train --config=configs/digits_dlvq.py --config.seed=1
"""

EVALUATE_HELP = """\
robustlabels evaluate --workdir=DIR [--config=FILE[:ARG]] [--attacks=NAME,NAME]
                      [--config.evaluation.b=VALUE ...]

Attacks the best model of the run in DIR again, adds the records to DIR/evaluation,
prints a table and renews the report. What was measured already is not measured again.

  --workdir         folder of a run
  --config          a config file whose evaluation section replaces that of the run
  --attacks         names of attacks with their defaults, instead of those of the run:
                    --attacks=standard
  --config.a.b      another value for a field of `evaluation`, or for data.data_dir

Attacks within a ball: fgsm, pgd, mi_fgsm, apgd, apgd_targeted, square, and the noises
gaussian_noise and uniform_noise. Searches for the nearest image, which need no
epsilon: minimum_distortion, carlini_wagner, ddn, fmn, deepfool, fab, fab_targeted,
hop_skip_jump. The ensemble to quote: standard, which is AutoAttack and Auto-PGD along
the own loss and the margin. An attack is a name of your own and the fields of one of
these. Epsilons are numbers or fractions, with commas.

Example: robustlabels evaluate --workdir=runs/mine \\
             --config.evaluation.attacks.pgd.num_steps=100 \\
             --config.evaluation.epsilons=0.05,8/255
"""

TRANSFER_HELP = """\
robustlabels transfer --workdirs DIR [DIR ...] --out=DIR [--attack=NAME]
                      [--attack.FIELD=VALUE ...] [--loss=own] [--epsilon=0.1]
                      [--rms=0.06,0.1] [--num_examples=1000]

Makes adversarial images for the best model of each run, each seed a model, and feeds
them to all: a table of errors, made for x fed to. OUT gets transfer.json, report.html
with a heat map, and NAME.npz with the images for each model, which
--config.data.name=npz:FILE reads as well. What was made is not made again.

  --workdirs        folders of runs on the same data
  --out             folder for the results
  --attack          minimum_distortion by default, or another attack of `evaluate`;
                    --attack.num_steps=20 changes a field of it
  --loss            what it ascends, where it follows a loss: own, margin,
                    cross_entropy or dlr
  --epsilon         how far an attack within a ball may go
  --rms             sizes of the change to amplify it to, as root mean squares of
                    pixels in [0, 1]; each has a row of Gaussian noise beside it
  --num_examples    the first test images; 0 is all

Example: robustlabels transfer --workdirs runs/a runs/b --rms=0.06,0.1 --out=runs/ab
"""

SWEEP_HELP = """\
robustlabels sweep --config=FILE[:ARG] [--config.a.b=VALUE ...]
                   --vary=KEY=V1,V2,... [--vary=...] --workdir=DIR

Trains and attacks every combination of the values, one after another in one process.
Each cell is an ordinary run in a folder of DIR, named by its values; DIR gets a report
of the grid. The same command goes on where it was interrupted; with more values, it
adds their cells. A cell that diverges, or whose data do not allow its values, is marked
and the rest goes on.

  --config, --config.a.b
                    the base, as for train
  --vary            a field and its values, such as --vary=training.batch_size=50,100;
                    commas within brackets belong to a value:
                    --vary=encoder.widths=(64,),(256,64)
  --workdir         folder for all runs

Example: robustlabels sweep --config=configs/digits_dlvq.py \\
             --vary=objective.tau_end=1,30 --vary=training.input_noise=0.0,0.2 \\
             --workdir=runs/noise
"""

COMPARE_HELP = """\
robustlabels compare --config=FILE[:ARG] [--config.a.b=VALUE ...] [--workdir=DIR]
                     [--objectives NAME ...] [--workers=N] [--cells=K/N]
robustlabels compare --workdir=DIR

Would another label or loss help, on these data, and would it survive an attack that was
built for it? Trains every objective of the config on the same splits with the same
seeds and number of steps, after the same search of the learning rate on validation
data; attacks each alike; and compares each with the reference, paired over examples and
seeds, with 95 % intervals and Holm's correction. Prints a table; writes report.html,
table.md, table.csv and table.json into DIR, by default a new folder below runs/. Every
run is an ordinary one in a folder of its own, and the same command goes on.

  --config          a run's config without head and objective, with two more sections:
                    objectives, a name each with its head and objective, and compare;
                    configs/compare.py takes images of any size
  --config.a.b      another value for a field of the runs, or of the section compare:
                    "--config.compare.swap_rates=()" asks nothing about them
  --objectives      which objectives, beside the reference (default: all)
  --workers         processes of this machine that share the runs (default: 1); with
                    small networks on a CPU, one for each core
  --cells           K/N takes the K-th of N equal shares of the runs, for machines that
                    share DIR; without it they share all, run by run
  --workdir         folder of the comparison; alone, it renews the table of what is
                    there, and says what is missing

Example: robustlabels compare --config=configs/compare_digits.py --workdir=runs/compare
"""

REPORT_HELP = """\
robustlabels report DIR [DIR ...] [--output=FILE]

Renders any number of runs, and folders of runs such as a sweep's, side by side into
one self-contained HTML page: tables, curves, confidence, examples, warnings.

  --output          the page; by default report.html in DIR, or here for several DIRs

Example: robustlabels report runs/mine runs/other --output=compared.html
"""

LABELS_HELP = """\
robustlabels labels --config=FILE[:ARG] [--config.a.b=VALUE ...] --out=DIR

Makes the label of each class that FILE regresses, and writes into DIR: codebook.npz,
which `from_file` reads; statistics.json, how varied labels are and how far apart;
images/NAME.png; and sounds/NAME.wav, the recordings where labels are speech, else what
Griffin-Lim makes of labels with 64 rows. Files that are there are replaced.

  --config          a file whose objective is label_regression
  --config.a.b      another value for a field, such as
                    --config.objective.codebook.voice=de
  --out             folder for the labels

Example: robustlabels labels --config=configs/digits_labels.py:speech --out=labels
"""

PREPARE_HELP = """\
robustlabels data prepare NAME [--data_dir=DIR]

Lets TFDS download and prepare the data set NAME as ArrayRecord, once. Reading it later
needs neither network nor TensorFlow; preparing needs both:
pip install 'robustlabels[prepare]'.

  --data_dir        folder of prepared sets; by default $TFDS_DATA_DIR or
                    ~/tensorflow_datasets

Example: robustlabels data prepare cifar10
"""
