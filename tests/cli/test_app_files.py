"""An app's configuration as a file: what ``show --toml`` prints, ``configure`` reads."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chatledger.adapters.cli.configuration import as_toml, convert_fields, merged
from chatledger.adapters.cli.main import main
from chatledger.domain.configuration import (
    AnnotationReply,
    AppConfiguration,
    DeclaredVariable,
    EmojiIcon,
    FileUpload,
    Limits,
    ModerationOfStage,
    Prices,
    Site,
    Switch,
    TextToSpeech,
    WordAvoidance,
)
from chatledger.domain.inputs import InputVariable
from tests.support.databases import ON_SQLITE

EVERYTHING = AppConfiguration(
    generator="scripted",
    settings={"text": 'a "quoted"\nline\x85\u202e\U000e0001 é漢', "tokens": 3, "interval_ms": 0},
    description="What it is",
    tags=("one", "two"),
    author_name="Ann",
    opening_statement="Hello {{name}}",
    suggested_questions=("What now?",),
    user_input_form=(
        InputVariable(variable="name", required=True, max_length=40, label="Your name"),
        InputVariable(variable="tone", type="select", options=("kind", "dry"), default="dry"),
        InputVariable(variable="count", type="number", default=7),
        InputVariable(variable="share", type="number", default=0.5),
        InputVariable(variable="brief", type="checkbox", default=True, hide=True),
        InputVariable(variable="photos", type="file-list", max_length=2, allowed_file_types=("image",)),
        InputVariable(variable="more", type="json_object", default={"a": [1, "b"]}, description="whatever"),
    ),
    retriever_resource=False,
    suggested_questions_after_answer=Switch(enabled=True),
    text_to_speech=TextToSpeech(voice="alloy", language="en-GB"),
    annotation_reply=AnnotationReply(score_threshold=0.75),
    sensitive_word_avoidance=WordAvoidance(
        keywords=("secret",), inputs_config=ModerationOfStage(enabled=True, preset_response="No.")
    ),
    file_upload=FileUpload(enabled=True, kinds=("image", "document"), number_limits=5, detail="low"),
    conversation_variables=(DeclaredVariable(name="mood", default="good"),),
    prices=Prices(prompt_unit_price="2.50", currency="EUR"),
    limits=Limits(concurrency=3, tokens_per_day=1_000, dedupe_window=2.5),
    site=Site(title="Ask", icon_type="emoji", icon="🦉"),
    tool_icons={"search": "https://icons.example/s.png", "add": EmojiIcon(background="#fff", content="+")},
)


def test_what_is_written_reads_the_same_and_gives_no_orders_to_a_terminal() -> None:
    written = as_toml(EVERYTHING)
    assert convert_fields(tomllib.loads(written)) == EVERYTHING
    assert all(line.isprintable() for line in written.split("\n"))
    assert convert_fields(tomllib.loads(as_toml(AppConfiguration(generator="x")))) == AppConfiguration(generator="x")


def test_of_a_table_only_what_is_named_changes() -> None:
    fields = {"limits": {"concurrency": 9}, "sensitive_word_avoidance": {"inputs_config": {"enabled": False}}}
    before = tomllib.loads(as_toml(EVERYTHING))
    changed = convert_fields(merged(before, fields))
    assert (changed.limits.concurrency, changed.limits.tokens_per_day) == (9, 1_000)
    assert changed.sensitive_word_avoidance.inputs_config == ModerationOfStage(enabled=False, preset_response="No.")
    assert changed.sensitive_word_avoidance.keywords == ("secret",)
    replaced = convert_fields(merged(before, {"settings": {"tokens": 4}, "tool_icons": {}}))
    assert (replaced.settings, replaced.tool_icons) == ({"tokens": 4}, {})


@pytest.fixture
def command(data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process, in the folder beside the data: its exit code, and what it printed."""
    monkeypatch.chdir(data_folder.parent)
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return run


def create(command: Any, *options: str) -> str:
    code, printed, complaint = command("apps", "create", "--mode", "chat", "--name", "x", "--json", *options)
    assert code == 0, complaint
    return json.loads(printed)["app_id"]


def show(command: Any, app_id: str) -> dict[str, Any]:
    return json.loads(command("apps", "show", app_id, "--json")[1])["configuration"]


@ON_SQLITE
def test_a_file_makes_an_app_and_its_printed_file_makes_another_like_it(command: Any, tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(as_toml(EVERYTHING), encoding="utf-8")
    first = create(command, "--file", "app.toml")
    code, printed, _ = command("apps", "show", first, "--toml")
    assert (code, convert_fields(tomllib.loads(printed))) == (0, EVERYTHING)

    (tmp_path / "printed.toml").write_text(printed, encoding="utf-8")
    second = create(command, "--generator", "scripted", "--set", "tokens=9", "--opening-statement", "Hi.")
    (tmp_path / "site.toml").write_text('[site]\ncopyright = "Ann"\n')
    assert command("apps", "configure", second, "--file", "site.toml")[0] == 0
    assert show(command, second)["site"]["copyright"] == "Ann"
    assert command("apps", "configure", second, "--file", "printed.toml", "--replace")[0] == 0
    assert show(command, second) == show(command, first)


@ON_SQLITE
@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("colour = 1", "colour: no such field"),
        ("[limits]\ncolour = 1", "limits.colour: no such field"),
        ("[limits]\nconcurrency = -1", "limits.concurrency: "),
        ("[limits]\ndedupe_window = inf", "limits.dedupe_window: must be a finite number"),
        ("[annotation_reply]\nscore_threshold = 1.5", "annotation_reply.score_threshold: "),
        ("[file_upload]\nnumber_limits = 0", "file_upload.number_limits: "),
        ("[prices]\nprompt_unit_price = 2.5", "prices.prompt_unit_price: "),
        ('[prices]\nprompt_unit_price = "-1"', "prices.prompt_unit_price must be a decimal"),
        ('[prices]\ncurrency = "euro"', "prices.currency must be three capital letters"),
        ("[settings]\nsince = 2026-01-01", "settings.since: a date must be written as a string"),
        ('[[user_input_form]]\nvariable = "a"\ntype = "external_data_tool"', "external_data_tool"),
        ('[[user_input_form]]\nvariable = "a"\ncolour = 1', "colour: no such field"),
        ('[[user_input_form]]\nvariable = "a"\n[[user_input_form]]\nvariable = "a"', "a name of its own: 'a'"),
        (
            '[sensitive_word_avoidance.inputs_config]\nenabled = "yes"',
            "avoidance.inputs_config.enabled: ",
        ),
    ],
    ids=str,
)
def test_what_a_file_cannot_hold_is_refused_by_name(command: Any, tmp_path: Path, written: str, named: str) -> None:
    (tmp_path / "app.toml").write_text(written)
    code, printed, complaint = command(
        "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted", "--file", "app.toml"
    )
    assert (code, printed) == (2, "")
    assert named in complaint
    assert len(complaint.splitlines()) == 1


@ON_SQLITE
def test_options_that_exclude_each_other_or_need_another(command: Any) -> None:
    app_id = create(command)
    for arguments in (("apps", "configure", app_id, "--replace"), ("apps", "show", app_id, "--toml", "--json")):
        code, printed, complaint = command(*arguments)
        assert (code, printed, len(complaint.splitlines())) == (2, "", 1)
