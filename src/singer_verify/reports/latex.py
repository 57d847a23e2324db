"""Text in LaTeX tables."""

# Characters that LaTeX reads as commands, or that its usual fonts lack. pandas escapes only the former.
LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "−": "$-$",
        "–": "--",
        "·": r"$\cdot$",
        "×": r"$\times$",
        "²": r"\textsuperscript{2}",
        "…": r"\dots{}",
    }
)


def escape_latex(text: object) -> str:
    """Return a text that LaTeX prints as it is."""
    return str(text).translate(LATEX_ESCAPES)


def format_latex_comments(text: str) -> str:
    """Return the lines of a text as comments."""
    return "".join(f"% {line}\n" for line in text.splitlines())
