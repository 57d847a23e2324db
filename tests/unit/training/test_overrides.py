"""Overrides: paths are taken as the shell gives them, lists and sweeps item by item, all else is left alone."""

from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from singer_verify.encoders.ecapa import EcapaEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.features.fbank import Fbank
from singer_verify.runs.checkpoints import write_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.training.overrides import allow_resumed_settings, quote_path_overrides, refuse_empty_groups

CONF = Path(__file__).parents[3] / "conf"
PATHS = (
    *("plain", "a/b.c-d_e", "a b", " a ", "a=b", "a=1,b=2", "(x)", "{a}", "a#b&c", "é/ü", "日本", "~/x", "a;b!c"),
    *("1", "1.5", "1e5", "true", "nan", "a'b", 'a"b', "a\\", "a\\'b", "a]", "[a", "x[1]", "$x", "a*", "a:b", "'"),
)


def parse(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


@pytest.mark.parametrize(
    "name", ["name", "init_from", "+resume", "ckpt_path", "data.root", "++data.store_root", "teacher"]
)
@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_read_as_it_is_typed(name: str, path: str) -> None:
    (quoted,) = quote_path_overrides([f"{name}={path}"])
    assert parse(quoted) == path
    assert quote_path_overrides([quoted]) == [quoted]


@pytest.mark.parametrize("path", ["plain", "a/b.c-d_e", "a b", "runs/${name}"])
def test_what_hydra_reads_as_meant_is_left_alone(path: str) -> None:
    """Overrides name the jobs of sweeps and the cells of leaderboards."""
    assert quote_path_overrides([f"data.root={path}"]) == [f"data.root={path}"]


def test_other_settings_and_null_and_options_are_left_alone() -> None:
    others = ["-m", "--config-dir", "a=b", "seed=1,2", "encoder.hidden_size=choice(1,2)", "init_from=null", "resume="]
    assert quote_path_overrides(others) == others


def test_lists_and_choices_are_quoted_item_by_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(quote_path_overrides(["data.root=[a b,c=d, 'e,f']"])[0]) == ["a b", "c=d", "e,f"]
    assert parse(quote_path_overrides(["data.val_root=[a b,c]"])[0]) == ["a b", "c"]
    assert quote_path_overrides(["-m", "data.root=a=1,b"])[1] == "data.root='a=1',b"
    assert quote_path_overrides(["sweep=seeds", "data.root=[a=1,b],[c]"])[1] == "data.root=['a=1',b],[c]"
    assert quote_path_overrides(["-m", "data.root=choice(a,b)"])[1] == "data.root=choice(a,b)"
    monkeypatch.chdir(tmp_path)
    for folder in ("a=1,b", "[a]"):
        Path(folder).mkdir()
    assert quote_path_overrides(["-m", "data.root=a=1,b"])[1] == "data.root='a=1,b'"
    assert quote_path_overrides(["data.root=[a]"]) == ["data.root='[a]'"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("trainer=null", "trainer=null: expected one of ddp, default."),
        ("scheduler=none,null", "scheduler=none,null: expected one of none, plateau, warmup_cosine."),
        ("=1", "=1: names no setting; expected name=value."),
    ],
)
def test_a_group_cannot_be_nothing(argument: str, said: str) -> None:
    with pytest.raises(SingerVerifyError) as refusal:
        refuse_empty_groups([argument], CONF)
    assert str(refusal.value) == said
    refuse_empty_groups(["experiment=null", "init_from=null", "~callbacks.last", "seed=1"], CONF)


def write_run(folder: Path) -> Path:
    settings = {
        "seed": 1,
        "teacher": None,
        "loss": {"terms": {"aam": {"margin": 0.2}}},
        "corpus": {"train": "5 singers"},
    }
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_settings_of_a_resumed_run_are_marked_as_existing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a run = 1")
    for typed, marked in (
        ("loss.terms.aam.margin=0.3", ["++loss.terms.aam.margin=0.3"]),
        ("loss.terms={aam:{margin:0}}", ["++loss.terms={aam:{margin:0}}"]),
        ("~loss.terms.aam", ["++loss.terms.aam={}", "~loss.terms.aam"]),
        ("teacher='a b'", ["++teacher='a b'"]),
        *(
            (unmarked, [unmarked])
            for unmarked in (
                *("loss=ge2e", "loss.terms.aam.scale=1", "loss.terms.aam.margin.x=1", "+loss.terms.aam.margin=1"),
                *("~loss.terms.ge2e", "corpus.train=1", "name=b", "trust=[a]", "--config-dir", "-m", "hydra.run.dir=x"),
            )
        ),
    ):
        (resume,) = quote_path_overrides([f"resume={run}"])
        assert allow_resumed_settings([resume, typed], CONF) == [resume, *marked]
        for others in ([], ["resume=null"], ["resume="], [f"ckpt_path={run}"]):
            assert allow_resumed_settings([*others, typed], CONF) == [*others, typed]


def test_refuses_to_resume_what_is_no_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for content in ("- a", "a: [", None):
        (run / "config.yaml").write_text(content) if content else (run / "config.yaml").unlink()
        with pytest.raises(
            SingerVerifyError, match=r"config.yaml: (has no settings|cannot be read); expected the folder"
        ):
            allow_resumed_settings([f"resume={run}"], CONF)
    with pytest.raises(SingerVerifyError, match=r"resume=.*: has no run.json; expected the folder of a run"):
        allow_resumed_settings([f"resume={tmp_path}"], CONF)


def test_settings_that_only_a_parent_has_are_marked_as_existing(tmp_path: Path) -> None:
    """Those that the default choice of the group has, too, are known to Hydra."""
    encoder = EcapaEncoder(8, channels=8, embedding_size=4)
    metadata = ModelMetadata(Fbank(8).recipe, encoder.settings, 50, ("a",))
    parent = tmp_path / "a,b (c).ckpt"
    write_checkpoint({"state_dict": {}, METADATA_KEY: metadata.to_dict()}, parent)
    (init_from,) = quote_path_overrides([f"init_from={parent}"])
    channels = "encoder.channels=16"
    for typed, marked in (
        (channels, f"++{channels}"),
        ("encoder.embedding_size=3", "encoder.embedding_size=3"),
        ("encoder.nothing=3", "encoder.nothing=3"),
        ("+encoder.channels=16", "+encoder.channels=16"),
        ("optimizer.lr=1", "optimizer.lr=1"),
    ):
        assert allow_resumed_settings([init_from, typed], CONF) == [init_from, marked]
    for others in (["encoder=lstm", init_from], ["init_from=null"], [f"init_from={tmp_path}/nowhere"], []):
        assert allow_resumed_settings([*others, channels], CONF) == [*others, channels]
