"""The application that every command registers with, and the options that several commands share."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from singer_verify.cli.model_argument import PACKAGED_MODEL, ModelCommand, choose_packaged_model, import_inference

if TYPE_CHECKING:
    from singer_verify.data.degradations import Degradation


def _find_panel(command: str) -> str:
    return next((panel for panel, commands in COMMAND_PANELS.items() if command in commands), OTHER_PANEL)


class Application(typer.Typer):
    """The application. Its paths may be typed in another spelling of accented letters than on disk."""

    def command(  # type: ignore[override]  # options as typer's
        self, name: str | None = None, **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a command, which is run on the paths that exist, and on the packaged model if none is named."""

        def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
            panel = _find_panel(name or command.__name__.replace("_", "-"))
            register = super(Application, self).command(name, cls=ModelCommand, rich_help_panel=panel, **options)

            @functools.wraps(command)
            def run(**values: Any) -> Any:
                from singer_verify.corpora.names import find_typed_path

                for name, value in values.items():
                    if value == PACKAGED_MODEL:
                        values[name] = choose_packaged_model()
                    elif isinstance(value, Path):
                        values[name] = find_typed_path(value)
                    elif isinstance(value, list):
                        values[name] = [find_typed_path(item) if isinstance(item, Path) else item for item in value]
                if "model_path" in values:
                    import_inference()
                return command(**values)

            register(run)
            return command

        return decorate


COMMAND_PANELS = {  # of --help, in this order
    "Most used": ("verify", "embed", "evaluate", "prepare", "runs"),
    "Recognise singers": ("identify", "enrol", "gallery", "diarize", "table", "demo", "bench"),
    "Evaluate models": ("calibrate", "trials", "probe", "similarity", "map"),
    "Data, trainings and sweeps": (
        *("new", "audit", "leaderboard", "learning-curve", "models", "import-weights", "interpolate"),
    ),
    "Publish": ("export", "card"),
}
OTHER_PANEL = "Other commands"
EXAMPLES = (
    "singer-verify verify A.wav B.wav",
    "singer-verify embed runs/first songs/ --out songs.npz",
    "singer-verify evaluate runs/first /corpora/vocalset --out report",
    "singer-verify prepare vocalset VocalSet1-2/ --out /corpora/vocalset",
    "singer-verify runs",
)
app = Application(
    no_args_is_help=True,
    add_completion=False,
    epilog="\n\n".join(["Examples:", *EXAMPLES, "singer-verify COMMAND --help explains a command."]),
)
Item = TypeVar("Item")
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        default_factory=lambda: PACKAGED_MODEL,
        show_default=False,
        help="A run folder (its best model), a .ckpt or a saved_model.pt. Left out: the model that comes with the "
        "package (`models` shows it).",
    ),
]
CorpusArgument = Annotated[Path, typer.Argument(help="A corpus folder, <root>/<split>/<singer>/**/<utterance>.")]
GalleryArgument = Annotated[
    Path, typer.Argument(help="The .npz of enrolled singers, or .sqlite of very many; `enrol` creates it.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="Where the encoder runs: auto (the GPU if there is one), cpu, cuda or cuda:N.")
]
ScoringOption = Annotated[
    Path | None,
    typer.Option(help="The .npz that `calibrate` wrote, or cosine (default: the model's own, else cosine)."),
]
DomainOption = Annotated[
    str | None, typer.Option(help="Domain of the recordings, where the scoring centres by it (calibrate --centre-by).")
]
EnrolmentScoreOption = Annotated[
    str | None,
    typer.Option(
        "--enrolment-score",
        help="Singers known from several recordings are scored by their mean, or by the max or the best3 of the scores "
        "of single ones (default: as calibrate fitted, else mean).",
    ),
]
ThresholdOption = Annotated[
    float | None, typer.Option(help="Scores at or above it are the same singer (default: the scoring's own).")
]
PriorOption = Annotated[
    float | None, typer.Option(help="Prior probability of a same-singer pair; sets the Bayes decision threshold.")
]
ProbabilityOption = Annotated[bool, typer.Option("--probability", help="Refuse a model that is not calibrated.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Only runs with these settings, of which each may have several values: features=mel40,mfcc,seed=1; may "
        "be given several times (default: all runs)."
    ),
]
TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trust", metavar="PACKAGE", help="A package of your own that the model's parts come from: it is imported."
    ),
]


def _print_version(is_wanted: bool) -> bool:
    if is_wanted:
        import singer_verify

        typer.echo(singer_verify.__version__)
        raise typer.Exit
    return is_wanted


@app.callback()
def describe(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Who sings? Compare recordings, find singers, evaluate and export models, prepare corpora, keep track of runs."""


def parse_degradation_options(
    degrade: str | None, accompaniment: Path | None, seed: int = 0
) -> "tuple[Degradation, ...]":
    """Parse the options --degrade and --accompaniment; no degradation without the former."""
    from singer_verify.errors import SingerVerifyError

    if degrade is None:
        if accompaniment is not None:
            raise SingerVerifyError(
                f"--accompaniment {accompaniment}: nothing is degraded; add --degrade, or leave it out."
            )
        return ()
    from singer_verify.data.accompaniment import find_accompaniment
    from singer_verify.data.degradations import parse_degradations

    parse_degradations(degrade, seed)  # whose mistakes are found sooner than a folder is searched
    return parse_degradations(degrade, seed, () if accompaniment is None else find_accompaniment(accompaniment))


def takes_trust(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that loads models the option --trust; it also trusts what the project's conf lists."""

    @functools.wraps(command)
    def run(*arguments: Any, trust: list[str] | None = None, **options: Any) -> Any:
        from singer_verify.safe_loading import trust_listed_packages

        trust_listed_packages(trust)
        return command(*arguments, **options)

    signature = inspect.signature(command)
    option = inspect.Parameter("trust", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=TrustOption)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, "trust": TrustOption}
    return run


def show_progress(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """Show a progress bar on standard error, which disappears when it is done."""
    from rich.progress import track

    items = items if total is not None else list(items)
    return track(items, description, total=total, console=Console(stderr=True), transient=True)


def show_comparing(files: Sequence[Path]) -> Iterable[Path]:
    """Show how many files have been compared, like `show_progress`."""
    return show_progress(files, "Comparing", total=len(files))
