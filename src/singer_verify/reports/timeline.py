"""Who sings when, as a figure, a table on the console, and rows of a csv."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito
GREY = "#999999"
MOST_ROWS = 12  # singers drawn, those who are heard longest
