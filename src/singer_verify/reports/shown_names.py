"""Names that come from outside (singers, labels, files) as a figure can show them."""

LONGEST, LONGEST_TITLE = 28, 110
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def shown(name: str, longest: int = LONGEST) -> str:
    """A name that matplotlib draws as it is: no formula, no control character, its middle left out if it is long.

    matplotlib reads `$...$` as a formula and refuses a wrong one, leaves labels out that begin with an underscore, and
    writes into an SVG what no XML may hold.
    """
    printable = "".join(character if character.isprintable() else REPLACEMENT for character in name)
    if len(printable) > longest:
        half = (longest - 1) // 2
        printable = f"{printable[: longest - 1 - half]}…{printable[-half:]}"
    escaped = printable.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
