"""Labels other than one-hot vectors: an array for each class, to be put out.

A codebook is [classes, *cells] of float32, in [0, 80] unless it is the user's own; a
network regresses the label of an image's class, and the nearest label decides.
"""

from robustlabels.labels.codebooks import check_codebook as check_codebook
from robustlabels.labels.codebooks import from_file
from robustlabels.labels.codebooks import rescale as rescale
from robustlabels.labels.exports import write as write
from robustlabels.labels.generated import constant, gaussian_composition, uniform
from robustlabels.labels.generated import shuffled as shuffled
from robustlabels.labels.measures import Statistics as Statistics
from robustlabels.labels.measures import statistics as statistics
from robustlabels.labels.resizing import resize as resize
from robustlabels.labels.spectrogram import griffin_lim as griffin_lim
from robustlabels.labels.spectrogram import log_mel as log_mel
from robustlabels.labels.speech import recordings as recordings
from robustlabels.labels.speech import shuffled_speech, speech
from robustlabels.labels.voices import synthesize as synthesize
from robustlabels.labels.words import bert, word_vectors

__all__ = [
    "bert",
    "constant",
    "from_file",
    "gaussian_composition",
    "shuffled_speech",
    "speech",
    "uniform",
    "word_vectors",
]
