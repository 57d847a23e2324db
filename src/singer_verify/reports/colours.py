"""Colours of figures, pages and their kinds of things, told apart by colour-blind readers (Okabe & Ito)."""

BLACK, BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = (
    "#000000",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
UNKNOWN_GREY = "#b5b5b5"
