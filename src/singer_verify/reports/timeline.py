"""Who sings when, as a figure, a table on the console, and rows of a csv."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from rich.table import Table

from singer_verify.recognition.timeline import SILENT, UNKNOWN, Timeline
from singer_verify.recognition.times import minutes, span

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito
GREY = "#999999"
MOST_ROWS = 12  # singers drawn, those who are heard longest
