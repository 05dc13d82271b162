"""Annotations: their routes, and the questions that they answer in place of a model."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chatledger.application.generation import annotations
from tests.support.fake_openai import FakeOpenAI, Received, Refusal, embeddings
from tests.support.server import LiveServer, answer_of, chat_body, events_of

LIST = "/v1/apps/annotations"
SWITCH = "/v1/apps/annotation-reply"
EQUAL_ONLY = {"score_threshold": 0.9, "embedding_provider_name": "", "embedding_model_name": ""}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "total_price": "0", "latency": 0}


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=3)


async def add(client: httpx.AsyncClient, question: str = "Open?", answer: str = "From nine.") -> dict[str, Any]:
    response = await client.post(LIST, json={"question": question, "answer": answer})
    assert response.status_code == 201, response.text
    return response.json()


async def enable(client: httpx.AsyncClient, **settings: Any) -> None:
    response = await client.post(f"{SWITCH}/enable", json=EQUAL_ONLY | settings)
    assert response.status_code == 200, response.text


async def ask(client: httpx.AsyncClient, query: str) -> dict[str, Any]:
    response = await client.post("/v1/chat-messages", json=chat_body(query, auto_generate_name=False))
    assert response.status_code == 200, response.text
    return response.json()


async def page(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    response = await client.get(LIST, params=query)
    assert response.status_code == 200, response.text
    return response.json()


# The routes


async def test_an_annotation_is_added_changed_and_removed(chat):
    added = await add(chat, " Open? ", "From nine.")
    assert set(added) == {"id", "question", "answer", "hit_count", "created_at"}
    assert (added["question"], added["answer"], added["hit_count"]) == (" Open? ", "From nine.", 0)
    assert (await page(chat))["data"] == [added]

    changed = await chat.put(f"{LIST}/{added['id']}", json={"question": "Open?", "answer": "From ten."})
    assert (changed.status_code, changed.json()) == (200, added | {"question": "Open?", "answer": "From ten."})
    assert (await page(chat))["data"] == [changed.json()]

    removed = await chat.delete(f"{LIST}/{added['id']}")
    assert (removed.status_code, removed.content) == (204, b"")
    assert await page(chat) == {"data": [], "has_more": False, "limit": 20, "total": 0, "page": 1}


async def test_the_list_is_paged_newest_first(chat):
    ids = [(await add(chat, f"Question {number}"))["id"] for number in range(5)]
    pages = [await page(chat, page=number, limit=2) for number in (1, 2, 3, 4)]
    assert [[item["id"] for item in one["data"]] for one in pages] == [ids[:2:-1], ids[2:0:-1], ids[:1], []]
    assert [one["has_more"] for one in pages] == [True, True, False, False]
    assert {(one["total"], one["limit"]) for one in pages} == {(5, 2)}
    assert [one["page"] for one in pages] == [1, 2, 3, 4]


async def test_the_list_is_searched_by_a_keyword(chat):
    await add(chat, "Where is the Harbour?", "South.")
    await add(chat, "When?", "Ask at the harbour.")
    await add(chat, "Why?", "Because.")
    found = await page(chat, keyword="HARBOUR")
    assert [item["question"] for item in found["data"]] == ["When?", "Where is the Harbour?"]
    assert found["total"] == 2
    assert (await page(chat, keyword=""))["total"] == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "question"),
        ({"question": " ", "answer": "a"}, "question"),
        ({"question": 1, "answer": "a"}, "question"),
        ({"question": "q"}, "answer"),
        ({"question": "q", "answer": None}, "answer"),
        ({"question": "q", "answer": []}, "answer"),
    ],
)
async def test_an_annotation_without_its_texts_is_refused(chat, body, field):
    added = await add(chat)
    for response in (await chat.post(LIST, json=body), await chat.put(f"{LIST}/{added['id']}", json=body)):
        assert (response.status_code, response.json()["code"], response.json()["params"]) == (
            400,
            "invalid_param",
            field,
        )
    assert (await page(chat))["data"] == [added]


@pytest.mark.parametrize("query", [{"page": 0}, {"limit": 0}, {"limit": 101}, {"page": "x"}])
async def test_a_page_that_there_is_not_is_refused(chat, query):
    response = await chat.get(LIST, params=query)
    assert (response.status_code, response.json()["params"]) == (400, next(iter(query)))


async def test_an_annotation_of_another_app_does_not_exist(server, chat):
    added = await add(chat)
    stranger = await server.new_client()
    texts = {"question": "q", "answer": "a"}
    for annotation_id, client in ((added["id"], stranger), (uuid.uuid4(), chat)):
        for response in (
            await client.put(f"{LIST}/{annotation_id}", json=texts),
            await client.delete(f"{LIST}/{annotation_id}"),
        ):
            assert (response.status_code, response.json()["code"], response.json()["message"]) == (
                404,
                "not_found",
                "Annotation not found",
            )
    assert (await page(stranger))["total"] == 0
    assert (await page(chat))["data"] == [added]


async def test_the_switch_is_a_job_that_is_done(chat):
    for action, is_on in (("enable", True), ("disable", False)):
        job = (await chat.post(f"{SWITCH}/{action}", json=EQUAL_ONLY)).json()
        assert set(job) == {"job_id", "job_status"}
        assert job["job_status"] == "completed"
        status = await chat.get(f"{SWITCH}/{action}/status/{job['job_id']}")
        assert (status.status_code, status.json()) == (200, job | {"error_msg": ""})
        parameters = (await chat.get("/v1/parameters")).json()
        assert parameters["annotation_reply"]["enabled"] is is_on


async def test_a_job_that_there_is_not(server, chat):
    job = (await chat.post(f"{SWITCH}/enable", json=EQUAL_ONLY)).json()["job_id"]
    stranger = await server.new_client()
    for client, action, job_id in ((chat, "enable", uuid.uuid4()), (chat, "disable", job), (stranger, "enable", job)):
        response = await client.get(f"{SWITCH}/{action}/status/{job_id}")
        assert (response.status_code, response.json()["code"], response.json()["message"]) == (
            400,
            "invalid_param",
            "The job does not exist.",
        )


@pytest.mark.parametrize("action", ["enable", "disable"])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"score_threshold": None}, "score_threshold"),
        ({"score_threshold": "0.9"}, "score_threshold"),
        ({"score_threshold": True}, "score_threshold"),
        ({"score_threshold": 1.01}, "score_threshold"),
        ({"score_threshold": -0.01}, "score_threshold"),
        ({"embedding_provider_name": None}, "embedding_provider_name"),
        ({"embedding_provider_name": "cohere"}, "embedding_provider_name"),
        ({"embedding_model_name": None}, "embedding_model_name"),
        ({"embedding_model_name": 3}, "embedding_model_name"),
    ],
)
async def test_a_switch_needs_all_its_settings(chat, action, change, field):
    response = await chat.post(f"{SWITCH}/{action}", json=EQUAL_ONLY | change)
    assert (response.status_code, response.json()["code"], response.json()["params"]) == (400, "invalid_param", field)


async def test_embeddings_that_nobody_makes_are_refused(chat):
    named = EQUAL_ONLY | {"embedding_provider_name": "openai", "embedding_model_name": "m"}
    response = await chat.post(f"{SWITCH}/enable", json=named)
    assert (response.status_code, response.json()["params"]) == (400, "embedding_model_name")


# Answers


@pytest.mark.usefixtures("in_one_process")
async def test_an_equal_question_is_answered_without_the_model(chat):
    added = await add(chat, "When do you open?", "From nine.")
    assert (await ask(chat, "When do you open?"))["answer"] == "t0 t1 t2 ", "not before it is enabled"
    await enable(chat)

    response = await chat.post("/v1/chat-messages", json=chat_body(" when do you\n OPEN?", response_mode="streaming"))
    events = events_of(response.text)

    assert [event["event"] for event in events] == ["message", "message_end"]
    assert answer_of(events) == "From nine."
    metadata = events[-1]["metadata"]
    reply = metadata["annotation_reply"]
    assert (reply["id"], reply["account"]["name"]) == (added["id"], "an app for chat")
    assert {name: metadata["usage"][name] for name in ZERO} == ZERO
    blocking = await ask(chat, "When do you open?")
    assert (blocking["answer"], blocking["metadata"]["annotation_reply"]) == ("From nine.", reply)
    again = events_of((await chat.get(f"/v1/messages/{events[0]['message_id']}/stream")).text)
    assert again == events
    query = {"conversation_id": events[0]["conversation_id"]}
    (message,) = (await chat.get("/v1/messages", params=query)).json()["data"]
    assert (message["answer"], message["metadata"]["annotation_reply"]) == ("From nine.", reply)
    assert (await page(chat))["data"][0]["hit_count"] == 2
    page_of_events = (await chat.get(f"/v1/messages/{events[0]['message_id']}/events")).json()["data"]
    assert [event["type"] for event in page_of_events] == [
        "MessageCreated",
        "GenerationStarted",
        "AnnotationMatched",
        "AnswerChunkAppended",
        "MessageCompleted",
    ]


@pytest.mark.usefixtures("in_one_process")
async def test_a_change_counts_from_the_next_question_on(chat):
    added = await add(chat, "When?", "Now.")
    await enable(chat)
    assert (await ask(chat, "When?"))["answer"] == "Now."
    await chat.put(f"{LIST}/{added['id']}", json={"question": "Where?", "answer": "Here."})
    assert (await ask(chat, "When?"))["answer"] == "t0 t1 t2 "
    assert (await ask(chat, "Where?"))["answer"] == "Here."
    await chat.delete(f"{LIST}/{added['id']}")
    assert (await ask(chat, "Where?"))["answer"] == "t0 t1 t2 "
    await add(chat, "Where?", "There.")
    await chat.post(f"{SWITCH}/disable", json=EQUAL_ONLY)
    assert (await ask(chat, "Where?"))["answer"] == "t0 t1 t2 "


async def test_a_question_that_may_not_be_asked_is_no_question_for_an_annotation(server):
    preset = {"enabled": True, "preset_response": "No."}
    avoidance = {"enabled": True, "keywords": "secret", "inputs_config": preset}
    chat = server.client(await server.new_key(configuration={"sensitive_word_avoidance": avoidance}, tokens=3))
    await add(chat, "a secret?", "Yes.")
    await enable(chat)
    assert (await ask(chat, "a secret?"))["answer"] == "No."


@pytest.mark.usefixtures("in_one_process")
async def test_annotations_are_read_once_for_many_questions(chat, monkeypatch):
    read: list[str] = []
    monkeypatch.setattr(annotations, "essence_of", lambda question: read.append(question) or question)
    await add(chat, "When?", "Now.")
    await add(chat, "Where?", "Here.")
    await enable(chat)
    assert [(await ask(chat, "Where?"))["answer"] for _ in range(3)] == ["Here."] * 3
    assert (read.count("When?"), read.count("Where?")) == (1, 4)


# By embeddings

MEANINGS = {
    "When do you open?": [1.0, 0.0],
    "Opening hours?": [0.95, 0.3],
    "Any bread?": [0.0, 1.0],
    "Cake?": [0.5, 0.5],
}


def means(request: Received) -> Refusal:
    return embeddings(*(MEANINGS[text] for text in request.body["input"]))


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        fake.always("/embeddings", means)
        yield fake


async def test_a_question_that_means_the_same_is_answered(serve, provider):
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await server.new_client(tokens=3)
        await add(chat, "Any bread?", "Rye.")
        added = await add(chat, "When do you open?", "From nine.")
        await enable(chat, embedding_provider_name="langgenius/openai/openai", embedding_model_name="small")

        assert (await ask(chat, "When do you open?"))["answer"] == "From nine."
        assert provider.requests == [], "nobody is asked about an equal question"
        like = await ask(chat, "Opening hours?")
        assert (like["answer"], like["metadata"]["annotation_reply"]["id"]) == ("From nine.", added["id"])
        assert (await ask(chat, "Cake?"))["answer"] == "t0 t1 t2 "
        await enable(chat, score_threshold=0.7, embedding_provider_name="openai", embedding_model_name="small")
        assert (await ask(chat, "Cake?"))["answer"] in {"Rye.", "From nine."}
        await enable(chat, score_threshold=0.99, embedding_provider_name="openai", embedding_model_name="small")
        assert (await ask(chat, "Opening hours?"))["answer"] == "t0 t1 t2 "
    asked = [request.body["input"] for request in provider.requests]
    assert asked[0] == ["When do you open?", "Any bread?"]
    assert all(len(texts) == 1 for texts in asked[1:]), "what was embedded before is remembered"
    assert {request.body["model"] for request in provider.requests} == {"small"}


async def test_questions_that_come_together_have_annotations_embedded_once(serve, provider):
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await server.new_client(tokens=1)
        await add(chat, "Any bread?", "Rye.")
        await add(chat, "When do you open?", "From nine.")
        await enable(chat, embedding_provider_name="openai", embedding_model_name="small")
        given = await asyncio.gather(*(ask(chat, "Opening hours?") for _ in range(8)))
        assert {each["answer"] for each in given} == {"From nine."}
        asked = [request.body["input"] for request in provider.requests]
        assert [texts for texts in asked if texts != ["Opening hours?"]] == [["When do you open?", "Any bread?"]]
        await add(chat, "Cake?", "Plum.")
        await ask(chat, "Opening hours?")
    asked = [request.body["input"] for request in provider.requests]
    assert asked[-2:] == [["Cake?"], ["Opening hours?"]], "only what is new"


async def test_the_annotations_of_the_app_that_was_asked_last_stay_embedded(serve, provider, monkeypatch):
    monkeypatch.setattr(annotations, "REMEMBERED_VECTORS", 2)
    async with serve(openai_base_url=provider.base_url) as server:
        chats = [await server.new_client(tokens=1) for _ in range(3)]
        for chat, question in zip(chats, ("Any bread?", "Cake?", "When do you open?"), strict=True):
            await add(chat, question, "An answer.")
            await enable(chat, embedding_provider_name="openai", embedding_model_name="small")
        for place in (0, 1, 0, 2, 0, 1):
            await ask(chats[place], "Opening hours?")
    asked = [text for request in provider.requests for text in request.body["input"] if text != "Opening hours?"]
    assert asked == ["Any bread?", "Cake?", "When do you open?", "Cake?"]


async def test_where_embeddings_fail_the_model_answers(serve, provider):
    provider.always("/embeddings", lambda _: Refusal(500, {"error": {"message": "Overloaded."}}))
    async with serve(openai_base_url=provider.base_url) as server:
        chat = await server.new_client(tokens=3)
        await add(chat, "Any bread?", "Rye.")
        await enable(chat, embedding_provider_name="openai", embedding_model_name="small")
        assert (await ask(chat, "Cake?"))["answer"] == "t0 t1 t2 "
        assert (await ask(chat, "any  bread?"))["answer"] == "Rye."
