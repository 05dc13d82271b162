"""Answers from folders of documents: what is found, how it is quoted, and what a folder may do meanwhile."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatledger.adapters.generator import folder_index
from chatledger.adapters.generator.document_library import DOCUMENTATION
from chatledger.adapters.generator.extractive import ExtractiveGenerator
from chatledger.adapters.generator.folder_index import FolderIndex
from chatledger.adapters.generator.passages import MAX_LENGTH, split_markdown, split_text, title_of
from chatledger.application.ports.generator import (
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    Retrieved,
    SettingsError,
    Text,
)
from chatledger.application.search.tokens import asked_tokens, count_words, indexed_tokens
from chatledger.domain.values import AppMode, Resource


@pytest.fixture
async def generator() -> AsyncIterator[ExtractiveGenerator]:
    made = ExtractiveGenerator()
    yield made
    await made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "handbook"
    inside.mkdir()
    return inside


def request(
    query: str, *, mode: AppMode = "chat", inputs: dict[str, Any] | None = None, **chosen: object
) -> GenerationRequest:
    async def no_history(most: int | None = None) -> list[Any]:
        return []

    return GenerationRequest(
        message_id=UUID(int=1),
        attempt=1,
        mode=mode,
        query=query,
        inputs=inputs or {},
        settings={name: str(value) if isinstance(value, Path) else value for name, value in chosen.items()},
        history=no_history,
    )


async def parts(generator: ExtractiveGenerator, asked: GenerationRequest) -> list[Part]:
    return [part async for part in generator.generate(asked)]


def text_of(answered: Iterable[Part]) -> str:
    return "".join(part.text for part in answered if isinstance(part, Text))


def sources_of(answered: Iterable[Part]) -> tuple[Resource, ...]:
    return next((part.resources for part in answered if isinstance(part, Retrieved)), ())


async def found(generator: ExtractiveGenerator, query: str, folder: Path, **chosen: object) -> list[str]:
    answered = await parts(generator, request(query, folder=folder, **chosen))
    return [source.document_name or "" for source in sources_of(answered)]


async def until_found(generator: ExtractiveGenerator, query: str, folder: Path, expected: list[str]) -> None:
    deadline = time.monotonic() + 10
    while (last := await found(generator, query, folder)) != expected:
        assert time.monotonic() < deadline, last


# The answer


ABOUT_ITSELF = [
    # question, document, heading, what the first passage has to say
    ("What is chatledger?", "about.md", "What chatledger is", "message backend of chat applications"),
    ("Who are you?", "about.md", "Who are you?", "search in its documentation"),
    ("What can you do?", "about.md", "What can you do?", "answer questions about chatledger"),
    ("What is a ledger?", "about.md", "What a ledger is", "events to which one can only add"),
    ("What is a generator?", "about.md", "What a generator is", "`openai_compatible` asks a language model"),
    ("Which clients can use it?", "about.md", "Which clients can use chatledger", "`dify-client`"),
    ("What is an app?", "apps.md", "Apps", "`agent-chat`"),
    ("How do I get an API key?", "apps.md", "How to get an API key", "`first-credentials.toml`"),
    ("How do I rotate the key of an app?", "apps.md", "How to rotate or change the API key of an app", "All keys that"),
    ("How do I make an app?", "apps.md", "How to make and configure an app", "chatledger apps create --mode chat"),
    ("How do I use OpenAI?", "apps.md", "How to use OpenAI or another language model", "`api_key_env`"),
    ("What is an operator token?", "apps.md", "What an operator token opens", "`operate` and `audit`"),
    (
        "What happens if the server crashes?",
        "durability.md",
        "What survives a crash of the server",
        "before it has been committed",
    ),
    (
        "How is my data protected?",
        "durability.md",
        "How your data is protected: encryption at rest",
        "AES-256-GCM",
    ),
    (
        "Are messages encrypted?",
        "durability.md",
        "How your data is protected: encryption at rest",
        "master key",
    ),
    ("Can I delete my data?", "durability.md", "Can I delete my data?", "Not in this release"),
    ("How do I embed it?", "embedding.md", "How to embed chatledger in another program", "open_chatledger"),
    ("Can I write my own generator?", "embedding.md", "Can I write my own generator?", "Not yet from outside"),
    (
        "How do I rate an answer?",
        "feedback.md",
        "Rating an answer: like or dislike",
        "POST /v1/messages/{message_id}/feedbacks",
    ),
    ("withdraw a like or dislike", "feedback.md", "How to withdraw a like or dislike", "send `null` as `rating`"),
    ("how to change the port", "running.md", "How to change the port and the address", "--port 9000"),
    ("Which Python versions does the server need?", "running.md", "Running the server", "3.11 to 3.13"),
    (
        "Where is my data stored?",
        "running.md",
        "Where the data is stored: the data folder",
        "`CHATLEDGER_DATA_DIR`",
    ),
    ("How do I send a message?", "sending.md", "Sending a message", "POST /v1/chat-messages"),
    ("Which response modes are there?", "sending.md", "Which response modes there are", "`blocking` waits"),
    ("How do I stop an answer?", "stopping.md", "Stopping an answer", "POST /v1/chat-messages/{task_id}/stop"),
    ("How do I stop a running answer?", "stopping.md", "Stopping an answer", "POST /v1/chat-messages/{task_id}/stop"),
    ("Which event is a ping?", "streaming.md", "Streaming an answer", "every ten seconds"),
    (
        "How do I resume a stream?",
        "streaming.md",
        "How to resume a stream: reconnecting after a lost connection",
        "GET /v1/messages/{message_id}/stream",
    ),
    (
        "How can I resume a stream after my connection was lost?",
        "streaming.md",
        "How to resume a stream: reconnecting after a lost connection",
        "`Last-Event-ID`",
    ),
]


@pytest.mark.parametrize(("question", "document", "heading", "phrase"), ABOUT_ITSELF)
async def test_chatledgers_own_documentation_answers_about_it(generator, question, document, heading, phrase):
    answered = await parts(generator, request(question))
    first = sources_of(answered)[0]
    assert (first.document_name, (first.title or "").rpartition(" > ")[2]) == (document, heading)
    assert phrase in first.content
    assert f"[1] **{first.title}** ({document})" in text_of(answered)
    assert answered[-1] == Finish("stop")


@pytest.mark.parametrize("page", ["README.md", "chatledger/adapters/http/site/home.html"])
def test_the_questions_that_our_pages_suggest_are_among_these(page):
    suggested = re.findall(r'"query": "([^"]+)"', (Path(__file__).parents[2] / page).read_text())
    assert suggested
    assert set(suggested) <= {question for question, *_ in ABOUT_ITSELF}


async def test_the_answer_quotes_the_passage_and_names_it(generator, folder):
    (folder / "opening.md").write_text("# Opening hours\n\n## Weekends\n\nOn Sundays we are *closed*.\n\n- Rest\n")
    answered = await parts(generator, request("sunday", folder=folder))
    assert text_of(answered) == (
        "> On Sundays we are *closed*.\n>\n> - Rest\n\n[1] **Opening hours > Weekends** (opening.md)"
    )
    (source,) = sources_of(answered)
    assert source.score is not None
    assert source.score > 0
    assert (source.position, source.dataset_name, source.document_name) == (1, "handbook", "opening.md")
    assert (source.data_source_type, source.segment_position, source.word_count) == ("upload_file", 1, 6)
    assert (source.title, source.content) == (
        "Opening hours > Weekends",
        "On Sundays we are *closed*.\n\n- Rest",
    )
    assert len({UUID(source.dataset_id), UUID(source.document_id), UUID(source.segment_id)}) == 3


async def test_the_passages_come_first_and_the_text_word_by_word(generator, folder):
    (folder / "a.md").write_text("one two three 停止生成停止生成停止生成停止生成停止生成")
    answered = await parts(generator, request("one", folder=folder))
    assert isinstance(answered[0], Retrieved)
    pieces = [part.text for part in answered if isinstance(part, Text)]
    assert pieces[:4] == ["> ", "one ", "two ", "three "]
    assert max(map(len, pieces)) <= 20
    assert all(pieces)


async def test_ids_are_the_same_wherever_the_folder_lies(generator, tmp_path):
    ids = []
    for place in ("here", "there"):
        (tmp_path / place / "docs").mkdir(parents=True)
        (tmp_path / place / "docs" / "a.md").write_text("# Bees\n\nBees dance.")
        (source,) = sources_of(await parts(generator, request("bees", folder=tmp_path / place / "docs")))
        ids.append((source.dataset_id, source.document_id, source.segment_id))
    assert ids[0] == ids[1]


async def test_a_document_is_cited_once_and_positions_have_no_gap(generator, folder):
    for name in "abcde":
        (folder / f"{name}.md").write_text(f"# {name}\n\n## Bees\n\nBees dance.\n\n## More\n\nBees dance again.")
    answered = await parts(generator, request("bees dance", folder=folder, top_k=4))
    assert [source.position for source in sources_of(answered)] == [1, 2, 3, 4]
    assert len({source.document_id for source in sources_of(answered)}) == 4
    assert len(re.findall(r"^\[\d\]", text_of(answered), re.MULTILINE)) == 4


async def test_the_best_passage_stands_for_its_document(generator, folder):
    (folder / "a.md").write_text("# Bees\n\nBees dance.\n\n# More bees\n\nBees dance.")
    (folder / "b.md").write_text("# Bees\n\nBees dance.")
    assert sorted(await found(generator, "bees dance", folder, top_k=10)) == ["a.md", "b.md"]


async def test_a_passage_that_hardly_fits_is_not_quoted(generator, folder):
    (folder / "bees.md").write_text("The dance of the honey bee tells where nectar is.")
    for n in range(9):
        (folder / f"{n}.md").write_text(f"Number {n}. " + "Nothing to see here. " * 20 + "But a dance.")
    assert await found(generator, "honey bee nectar dance", folder) == ["bees.md"]


@pytest.mark.parametrize("question", ["What is the capital of France?", "what is it", "", "?!", "\U0001f41d", "火星"])
async def test_where_nothing_fits_it_says_so_and_lists_the_documents(generator, folder, question):
    (folder / "bees.md").write_text("# About bees\n\nThis is what the bees do in a hive.")
    (folder / "notes.txt").write_text("Wasps.")
    answered = await parts(generator, request(question, folder=folder))
    assert sources_of(answered) == ()
    assert text_of(answered).startswith("I found nothing about this in “handbook”.")
    assert text_of(answered).endswith(":\n\n- About bees (bees.md)\n- notes (notes.txt)")
    assert answered[-1] == Finish("stop")


async def test_a_long_list_of_documents_is_cut(generator, folder):
    for n in range(60):
        (folder / f"{n:02}.txt").write_text("bee")
    assert text_of(await parts(generator, request("wasp", folder=folder))).endswith("(49.txt)\n- and 10 more")


async def test_an_empty_folder_says_that_it_is_empty(generator, folder):
    assert "no documents" in text_of(await parts(generator, request("bees", folder=folder)))


async def test_a_completion_without_a_query_asks_with_its_inputs(generator, folder):
    (folder / "bees.md").write_text("Bees dance.")
    asked = request("", mode="completion", inputs={"topic": "bees", "n": None}, folder=folder)
    assert len(sources_of(await parts(generator, asked))) == 1
    assert sources_of(await parts(generator, request("", inputs={"topic": "bees"}, folder=folder))) == ()


async def test_the_pace_is_kept(generator, folder):
    (folder / "bees.md").write_text("Bees dance in the hive.")
    await found(generator, "bees", folder)
    began = time.monotonic()
    answered = await parts(generator, request("bees", folder=folder, interval_ms="20"))
    assert time.monotonic() - began >= 0.02 * (len(answered) - 2)


async def test_it_can_be_stopped_at_any_word(generator, folder):
    (folder / "bees.md").write_text("Bees dance in the hive.")
    async with aclosing(generator.generate(request("bees", folder=folder, interval_ms=60_000))) as answered:
        await anext(answered)
        assert await anext(answered) == Text("> ")


# Finding


@pytest.mark.parametrize(
    "query", ["停止", "消息", "止生", "停", "停止消息", "東京", "とう", "カメ", "ｶﾒ", "서울", "กรุ", "ກຸງ"]
)
async def test_scripts_without_spaces_are_found_by_two_characters(generator, folder, query):
    texts = {
        "zh.md": "如何停止生成一条消息",
        "ja.md": "東京とうきょうのカメラ",
        "ko.md": "서울에서",
        "th.md": "กรุงเทพ",
        "lo.md": "ບາງກຸງ",
    }
    for name, text in texts.items():
        (folder / name).write_text(f"前言 {text}。", encoding="utf-8")
    (folder / "other.md").write_text("bees")
    assert len(await found(generator, query, folder, top_k=1)) == 1
    assert "other.md" not in await found(generator, query, folder)


@pytest.mark.parametrize(
    "query", ["cafe", "CAFÉ", "cafés", "हिन्दी", "ΑΘΗΝΑ", "naive", "task id", "ﬁne", "running", "v2"]
)
async def test_words_are_found_in_other_forms(generator, folder, query):
    (folder / "a.md").write_text("A café हिन्दी Αθήνα naïve task_id fine, to run (v2).", encoding="utf-8")
    (folder / "b.md").write_text("bees")
    assert await found(generator, query, folder) == ["a.md"]


async def test_characters_that_sqlite_has_not_heard_of_are_found(generator, folder):
    (folder / "a.md").write_text("\U00030000\U00030001\U00030002", encoding="utf-8")
    assert await found(generator, "\U00030001\U00030002", folder) == ["a.md"]
    assert await found(generator, "\U00030002\U00030001", folder) == []


def test_the_marks_of_a_word_belong_to_it():
    assert list(asked_tokens("हिन्दी")) == ["हिन्दी"]
    assert list(asked_tokens("กรุ")) == ["กร", "รุ"]


async def test_a_word_of_the_heading_counts_more(generator, folder):
    (folder / "a.md").write_text("# Hive\n\nThe dance is in the house.")
    (folder / "b.md").write_text("# House\n\nThe dance is in the hive.")
    assert (await found(generator, "house", folder))[0] == "b.md"


async def test_the_heading_of_a_page_does_not_count_for_each_of_its_sections(generator, folder):
    (folder / "dance.md").write_text("# The dance of bees\n\nTo the left.\n\n## Wings\n\nFour.\n\n## Legs\n\nSix.")
    (folder / "food.md").write_text("# Food\n\n## Nectar\n\nBees like nectar, and their dance tells of its place.")
    answered = await parts(generator, request("bees dance", folder=folder))
    assert [source.title for source in sources_of(answered)] == ["The dance of bees", "Food > Nectar"]


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("How do bees dance?", "Bees > The dance of the bees > Dancing bees"),
        ("Who are you?", "Bees > Who are you"),
        ("蜜蜂跳舞", "Bees > 蜜蜂跳舞"),
    ],
)
async def test_the_heading_that_asks_the_same_comes_first(generator, folder, question, title):
    swarm = "Bees dance. 蜜蜂会跳舞。" * 9
    sections = ["The dance of the bees", "# Dancing bees", "How bees dance in a hive", "Who are you", "蜜蜂跳舞"]
    text = "# Bees\n\n" + "".join(f"##{'' if name[0] == '#' else ' '}{name}\n\n{swarm}\n\n" for name in sections)
    (folder / "a.md").write_text(text, encoding="utf-8")
    first = sources_of(await parts(generator, request(question, folder=folder)))[0]
    assert first.title == title


async def test_of_a_long_question_the_first_words_count(generator, folder):
    (folder / "a.md").write_text("Bees dance.")
    others = " ".join(f"w{n}" for n in range(20_000))
    assert await found(generator, f"bees {others}", folder) == ["a.md"]
    assert await found(generator, f"{others} bees", folder) == []


@pytest.mark.parametrize(
    "query", ['bees" OR x', "bees AND NOT NEAR(", "heading:bees", "bees*", "'bees", "bees\0", "\ud800 bees"]
)
async def test_nothing_in_a_question_is_a_command(generator, folder, query):
    (folder / "a.md").write_text("Bees dance.")
    assert await found(generator, query, folder) == ["a.md"]


texts = st.text(st.characters(codec=None), max_size=60)
cjk = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF, categories=("Lo",)), min_size=2, max_size=40)


@given(texts)
@example("\ud800")
@example("\0")
def test_tokens_of_any_text_can_be_stored_and_looked_for(text):
    tokens = [*indexed_tokens(text), *asked_tokens(text)]
    assert all(token and '"' not in token and token.encode() for token in tokens)
    assert set(asked_tokens(text)) <= set(indexed_tokens(text))
    assert count_words(text) >= 0


@given(before=texts, text=cjk, data=st.data())
def test_every_two_characters_of_chinese_are_found(before, text, data):
    start = data.draw(st.integers(0, len(text) - 2))
    assert set(asked_tokens(text[start : start + 2])) <= set(indexed_tokens(f"{before} {text}"))


@settings(max_examples=30, deadline=None)
@given(text=cjk)
def test_every_two_characters_of_chinese_find_their_document(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("docs")
    (folder / "a.md").write_text(f"前言。{text}。", encoding="utf-8")
    index = FolderIndex(folder)
    for start in range(len(text) - 1):
        assert [hit.document.path for hit in index.search(text[start : start + 2], 3)] == ["a.md"]
    index.close()


# Passages


def test_headings_part_and_name_the_passages():
    text = "intro\n# One\na\n\nb\n### Deep ###\nc\n## Two\nd\n#no heading\n"
    assert [(p.title, p.content) for p in split_markdown(text, "doc")] == [
        ("doc", "intro"),
        ("One", "a\n\nb"),
        ("One > Deep", "c"),
        ("One > Two", "d\n#no heading"),
    ]
    assert title_of(text, "doc") == "One"
    assert title_of("no heading", "doc") == "doc"


def test_code_is_no_heading_and_stays_whole():
    text = "# One\n\n```sh\n# comment\n\nrun\n```\n\n~~~\n# x\n```\n~~~\nafter"
    (passage,) = split_markdown(text, "doc")
    assert passage.content == "```sh\n# comment\n\nrun\n```\n\n~~~\n# x\n```\n~~~\n\nafter"
    assert title_of("```\n# comment\n```", "doc") == "doc"


def test_a_long_block_of_code_is_cut_into_blocks_of_code():
    text = "```py\n" + "\n".join(f"    line_{n} = {n}" for n in range(200)) + "\n```"
    cut = list(split_markdown(text, "doc"))
    assert all(p.content.startswith("```py\n    line") and p.content.endswith("\n```") for p in cut)
    assert "\n".join(p.content[6:-4] for p in cut) == text[6:-4]
    assert max(len(p.content) for p in cut) <= MAX_LENGTH


def test_paragraphs_are_gathered_up_to_the_length_and_sentences_kept_whole():
    paragraph = "This is a sentence of some length. " * 8
    cut = list(split_text("\n\n".join([paragraph.strip()] * 9) + "\n\n" + paragraph * 9, "doc"))
    assert all(len(p.content) <= MAX_LENGTH and p.content.endswith("length.") for p in cut)
    assert len(cut) == 9


@given(texts | st.text("ab .#`~\n。", max_size=3_000) | st.integers(1, 5_000).map(lambda n: "字" * n))
def test_passages_are_bounded_and_lose_no_letter(text):
    cut = list(split_text(text, "doc"))
    assert all(p.content.strip() and len(p.content) <= MAX_LENGTH for p in cut)
    assert re.sub(r"\s", "", "".join(p.content for p in cut)) == re.sub(r"\s", "", text)
    assert all(len(p.content) <= MAX_LENGTH for p in split_markdown(text, "doc") if "`" not in text and "~" not in text)


# Folders


async def test_a_change_in_the_folder_is_noticed(generator, folder, monkeypatch):
    monkeypatch.setattr(folder_index, "REFRESH_INTERVAL", 0.05)
    (folder / "a.md").write_text("Bees dance.")
    assert await found(generator, "bees", folder) == ["a.md"]
    (folder / "b.txt").write_text("Wasps do not.")
    await until_found(generator, "wasps", folder, ["b.txt"])
    (folder / "b.txt").write_text("Ants carry.")
    await until_found(generator, "ants", folder, ["b.txt"])
    assert await found(generator, "wasps", folder) == []
    (folder / "b.txt").unlink()
    await until_found(generator, "ants", folder, [])
    assert await found(generator, "bees", folder) == ["a.md"]


async def test_the_folder_is_not_looked_at_for_every_question(generator, folder):
    (folder / "a.md").write_text("Bees dance.")
    assert await found(generator, "bees", folder) == ["a.md"]
    (folder / "a.md").unlink()
    assert await found(generator, "bees", folder) == ["a.md"]


async def test_folders_below_are_read_and_hidden_things_are_not(generator, folder):
    for name in ("sub/deep/a.md", ".git/b.md", ".c.md", "d.html", "e.MD"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("Bees dance.")
    assert sorted(await found(generator, "bees", folder)) == ["e.MD", "sub/deep/a.md"]


async def test_a_link_that_leads_outside_is_not_followed(generator, folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.md").write_text("Bees dance.")
    (folder / "real.md").write_text("Bees dance.")
    (folder / "link.md").symlink_to(tmp_path / "outside" / "secret.md")
    (folder / "sub").symlink_to(tmp_path / "outside")
    (folder / "dangling.md").symlink_to(tmp_path / "nowhere.md")
    (folder / "loop.md").symlink_to(folder / "loop.md")
    (folder / "inside.md").symlink_to(folder / "real.md")
    assert sorted(await found(generator, "bees", folder)) == ["inside.md", "real.md"]


async def test_what_is_no_file_or_no_text_does_no_harm(generator, folder):
    os.mkfifo(folder / "pipe.md")
    (folder / "folder.md").mkdir()
    (folder / "bytes.md").write_bytes(b"\xff\xfe\0 Bees \x80 dance")
    (folder / "bom.md").write_bytes(b"\xef\xbb\xbf# Bees\n\ndance")
    (folder / "empty.md").write_bytes(b"")
    answered = await parts(generator, request("dance", folder=folder))
    assert sorted(s.document_name for s in sources_of(answered)) == ["bom.md", "bytes.md"]
    assert "Bees" in [s.title for s in sources_of(answered)]


async def test_too_much_is_left_out(generator, folder, monkeypatch):
    (folder / "a.md").write_text("Bees dance.")
    (folder / "big.md").write_bytes(b"Bees " * 500_000)
    assert await found(generator, "bees", folder) == ["a.md"]
    for name in "bcd":
        (folder / f"{name}.md").write_text("Bees dance.")
    monkeypatch.setattr(folder_index, "MAX_FILES", 3)
    index = FolderIndex(folder)
    assert [document.path for document in index.documents()] == ["a.md", "b.md", "c.md"]
    index.close()
    monkeypatch.setattr(folder_index, "MAX_TOTAL_BYTES", 25)
    index = FolderIndex(folder)
    assert [document.path for document in index.documents()] == ["a.md", "b.md"]
    index.close()


async def test_reading_a_large_folder_does_not_hold_up_the_loop(generator, folder):
    for n in range(8):
        (folder / f"{n}.md").write_text("Bees dance in the hive and tell of nectar. " * 20_000)
    asking = asyncio.create_task(found(generator, "bees", folder))
    longest, last = 0.0, time.monotonic()
    while not asking.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert await asking
    assert longest < 0.5


async def test_a_folder_that_went_away_is_an_error_and_not_an_empty_answer(generator, folder):
    folder.rmdir()
    with pytest.raises(GeneratorError) as caught:
        await parts(generator, request("bees", folder=folder))
    assert caught.value.kind == "internal"
    assert str(folder) not in str(caught.value)


async def test_it_can_be_used_again_after_closing(folder):
    generator = ExtractiveGenerator()
    (folder / "a.md").write_text("Bees dance.")
    for _ in range(2):
        assert await found(generator, "bees", folder) == ["a.md"]
        await generator.close()


# Settings


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"folder": "/no/such/folder"}, "folder"),
        ({"folder": str(Path(__file__))}, "folder"),
        ({"folder": "a\0b"}, "folder"),
        ({"folder": ""}, "folder"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 11}, "top_k"),
        ({"top_k": "many"}, "top_k"),
        ({"interval_ms": -1}, "interval_ms"),
        ({"interval_ms": float("inf")}, "interval_ms"),
        ({"fodler": "/"}, "fodler"),
    ],
)
async def test_a_wrong_setting_is_refused_by_its_name(generator, wrong, name):
    with pytest.raises(SettingsError, match=rf"\b{name}\b"):
        generator.check_settings(wrong)


async def test_wrong_recorded_settings_are_an_invalid_request(generator):
    with pytest.raises(GeneratorError) as caught:
        await parts(generator, request("bees", top_k=0))
    assert caught.value.kind == "invalid"


def test_settings_stay_as_the_app_has_them(generator):
    chosen = {"top_k": "5", "folder": str(DOCUMENTATION)}
    generator.check_settings(chosen)
    generator.check_settings({})
    assert generator.settings_for("/script", chosen) is chosen
