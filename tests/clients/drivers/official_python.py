"""Every call of `dify-client`, the official client on PyPI. It gives the responses of `requests` as they are."""

import io
import json
from typing import Any

from dify_client import ChatClient, CompletionClient, DifyClient
from recording import HOUSE, Calls

calls = Calls()
NOWHERE = "00000000-0000-4000-8000-000000000000"


def connect(kind: type[Any], key: str) -> Any:
    client = kind(HOUSE["keys"][key])
    client.base_url = HOUSE["base_url"]
    return client


def good(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


def events_of(response: Any) -> list[dict[str, Any]]:
    """As the client's own manual reads a stream: by lines."""
    assert response.status_code == 200, response.text
    lines = (line.decode() for line in response.iter_lines() if line)
    return [json.loads(line.split("data: ", 1)[1]) for line in lines if line.startswith("data: ")]


def text_of(events: list[dict[str, Any]], kind: str = "message") -> str:
    return "".join(event["answer"] for event in events if event["event"] == kind)


def refused(response: Any, status: int, code: str, message: str) -> None:
    body = response.json()
    assert (response.status_code, body["status"], body["code"], body["message"]) == (status, status, code, message)


chat: ChatClient = connect(ChatClient, "chat")
completion: CompletionClient = connect(CompletionClient, "completion")
answer: dict[str, Any] = {}


def history(**more: Any) -> list[dict[str, Any]]:
    page = good(chat.get_conversation_messages("ada", conversation_id=answer["conversation_id"], **more))
    messages: list[dict[str, Any]] = page["data"]
    return messages


with calls("ChatClient.create_chat_message", "blocking"):
    answer = good(chat.create_chat_message({}, "one", "ada"))
    assert answer["answer"] == HOUSE["answer"]

with calls("ChatClient.create_chat_message", "streaming"):
    events = events_of(chat.create_chat_message({}, "hello", "ada", response_mode="streaming"))
    assert text_of(events) == HOUSE["answer"]
    assert events[-1]["event"] == "message_end"
    assert events[-1]["metadata"]["usage"]["completion_tokens"] > 0

with calls("ChatClient.create_chat_message", "streaming, of an agent"):
    agent = connect(ChatClient, "agent-chat")
    events = events_of(agent.create_chat_message({}, "hello", "ada", response_mode="streaming"))
    assert text_of(events, "agent_message") == HOUSE["answer"]

with calls("ChatClient.create_chat_message", "streaming, of an agent whose tools make files"):
    acting = connect(ChatClient, "acting")
    events = events_of(acting.create_chat_message({}, "hello", "ada", response_mode="streaming"))
    thoughts = {event["id"]: event for event in events if event["event"] == "agent_thought"}
    (file,) = [event for event in events if event["event"] == "message_file"]
    assert [thought["message_files"] for thought in thoughts.values()] == [[file["id"]], []]

with calls("ChatClient.create_chat_message", "in a conversation that there is"):
    for query in ("two", "three"):
        again = good(chat.create_chat_message({}, query, "ada", conversation_id=answer["conversation_id"]))
        assert again["conversation_id"] == answer["conversation_id"]

with calls("ChatClient.create_chat_message", "in a conversation that there is not"):
    response = chat.create_chat_message({}, "hello", "ada", "blocking", NOWHERE)
    refused(response, 404, "not_found", "Conversation Not Exists.")

with calls("ChatClient.create_chat_message", "with a wrong key"):
    stranger = connect(ChatClient, "wrong")
    refused(stranger.create_chat_message({}, "hello", "ada"), 401, "unauthorized", "Access token is invalid")

with calls("ChatClient.create_chat_message", "streaming, with a provider that fails"):
    events = events_of(chat.create_chat_message({}, HOUSE["failing"], "ada", response_mode="streaming"))
    assert events[-1]["event"] == "error"
    assert events[-1]["code"] == "completion_request_error"

with calls("ChatClient.get_conversation_messages"):
    assert [message["query"] for message in history()] == ["one", "two", "three"]
    assert history()[0]["answer"] == HOUSE["answer"]

with calls("ChatClient.get_conversation_messages", "page by page"):
    newest = history(limit=2)
    older = history(limit=2, first_id=newest[0]["id"])
    assert [message["query"] for message in older + newest] == ["one", "two", "three"]

with calls("ChatClient.get_conversations"):
    page = good(chat.get_conversations("ada"))
    assert answer["conversation_id"] in [entry["id"] for entry in page["data"]]

with calls("ChatClient.get_conversations", "page by page"):
    first = good(chat.get_conversations("ada", limit=1))
    second = good(chat.get_conversations("ada", last_id=first["data"][0]["id"], limit=1, pinned=False))
    assert first["has_more"]
    assert first["data"][0]["id"] != second["data"][0]["id"]

for rating in ("like", "dislike", None):
    with calls("DifyClient.message_feedback", str(rating)):
        assert good(chat.message_feedback(answer["message_id"], rating, "ada")) == {"result": "success"}
        assert history()[0]["feedback"] == (rating and {"rating": rating})

with calls("ChatClient.rename_conversation"):
    named = good(chat.rename_conversation(answer["conversation_id"], "Numbers", "ada"))
    assert (named["id"], named["name"]) == (answer["conversation_id"], "Numbers")

with calls("DifyClient.get_application_parameters"):
    parameters = good(chat.get_application_parameters("ada"))
    assert parameters["opening_statement"] == HOUSE["opening_statement"]
    assert parameters["suggested_questions_after_answer"] == {"enabled": True}

with calls("DifyClient.file_upload"):
    files = {"file": ("dot.png", io.BytesIO(bytes.fromhex(HOUSE["image"])), "image/png")}
    uploaded = good(chat.file_upload("ada", files), 201)
    assert (uploaded["name"], uploaded["extension"], uploaded["mime_type"]) == ("dot.png", "png", "image/png")

with calls("ChatClient.create_chat_message", "with a file"):
    given = {"type": "image", "transfer_method": "local_file", "upload_file_id": uploaded["id"]}
    seen = good(chat.create_chat_message({}, "look", "ada", files=[given]))
    (message,) = good(chat.get_conversation_messages("ada", conversation_id=seen["conversation_id"]))["data"]
    assert [file["type"] for file in message["message_files"]] == ["image"]

with calls("CompletionClient.create_completion_message", "blocking"):
    whole = good(completion.create_completion_message({}, "blocking", "ada"))
    assert (whole["answer"], whole["mode"]) == (HOUSE["answer"], "completion")
    assert "conversation_id" not in whole

with calls("CompletionClient.create_completion_message", "streaming"):
    events = events_of(completion.create_completion_message({}, "streaming", "ada"))
    assert text_of(events) == HOUSE["answer"]

with calls("CompletionClient.create_completion_message", "of a chat app"):
    response = connect(CompletionClient, "chat").create_completion_message({}, "blocking", "ada")
    refused(response, 400, "app_unavailable", "App unavailable, please check your app configurations.")

calls.end(DifyClient, CompletionClient, ChatClient)
