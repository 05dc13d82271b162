"""Every call about messages of `dify-python-sdk`: the newest sources of the official client, published by another.

It raises its own errors, and reads a streamed response to its end before it gives it.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dify_client import ChatClient, CompletionClient, DifyClient, WorkflowClient
from dify_client.exceptions import APIError, AuthenticationError, DifyClientError, FileUploadError
from recording import HOUSE, Calls

calls = Calls()
NOWHERE = "00000000-0000-4000-8000-000000000000"


def connect(kind: type[Any], key: str) -> Any:
    return kind(HOUSE["keys"][key], base_url=HOUSE["base_url"])


@contextmanager
def refused(kind: type[DifyClientError], status: int, code: str) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    assert (caught.value.status_code, (caught.value.response or {}).get("code")) == (status, code)


def events_of(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line.startswith("data: ")]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["answer"] for event in events if event["event"] == "message")


chat: ChatClient = connect(ChatClient, "chat")
completion: CompletionClient = connect(CompletionClient, "completion")
answer: dict[str, Any] = {}
uploaded: dict[str, Any] = {}

with calls("ChatClient.create_chat_message", "blocking"):
    answer = chat.create_chat_message({}, "one", "ada").json()
    assert answer["answer"] == HOUSE["answer"]

with calls("ChatClient.create_chat_message", "streaming"):
    events = events_of(chat.create_chat_message({}, "hello", "ada", response_mode="streaming"))
    assert (text_of(events), events[-1]["event"]) == (HOUSE["answer"], "message_end")

with calls("ChatClient.create_chat_message", "with a wrong key"), refused(AuthenticationError, 401, "unauthorized"):
    connect(ChatClient, "wrong").create_chat_message({}, "hello", "ada")

with calls("ChatClient.stop_message"):
    events = events_of(chat.create_chat_message({}, "hello", "ada", response_mode="streaming"))
    assert chat.stop_message(events[0]["task_id"], "ada").json() == {"result": "success"}

with calls("ChatClient.get_suggested"):
    suggested = chat.get_suggested(answer["message_id"], "ada").json()
    assert suggested["result"] == "success"
    assert all(isinstance(question, str) for question in suggested["data"])

with calls("ChatClient.get_conversations"):
    page = chat.get_conversations("ada", limit=100).json()
    assert answer["conversation_id"] in [entry["id"] for entry in page["data"]]

with calls("ChatClient.get_conversation_messages"):
    page = chat.get_conversation_messages("ada", answer["conversation_id"], limit=5).json()
    assert [message["query"] for message in page["data"]] == ["one"]

with calls("DifyClient.message_feedback"):
    assert chat.message_feedback(answer["message_id"], "like", "ada").json() == {"result": "success"}

with calls("ChatClient.rename_conversation", "by hand"):
    named = chat.rename_conversation(answer["conversation_id"], "Numbers", auto_generate=False, user="ada").json()
    assert named["name"] == "Numbers"

with calls("ChatClient.rename_conversation", "by the server"):
    assert chat.rename_conversation(answer["conversation_id"], "ignored", auto_generate=True, user="ada").json()["name"]

variables: list[dict[str, Any]] = []
with calls("ChatClient.get_conversation_variables"):
    variables = chat.get_conversation_variables(answer["conversation_id"], "ada").json()["data"]
    assert [(each["name"], each["value_type"], each["value"]) for each in variables] == [("mood", "string", "good")]

with calls("ChatClient.list_conversation_variables_with_pagination"):
    page = chat.list_conversation_variables_with_pagination(answer["conversation_id"], "ada", limit=1).json()
    assert [each["id"] for each in page["data"]] == [variables[0]["id"]]

for call in ("update_conversation_variable", "update_conversation_variable_with_response"):
    with calls(f"ChatClient.{call}"):
        change = getattr(chat, call)
        changed = change(answer["conversation_id"], variables[0]["id"], value="better", user="ada").json()
        assert changed["value"] == "better"

with calls("ChatClient.delete_conversation"):
    assert chat.delete_conversation(answer["conversation_id"], "ada").status_code == 204
    with refused(APIError, 404, "not_found"):
        chat.get_conversation_messages("ada", answer["conversation_id"])

with calls("ChatClient.audio_to_text"):
    sound = ("speech.wav", io.BytesIO(bytes.fromhex(HOUSE["sound"])), "audio/wav")
    assert chat.audio_to_text(sound, "ada").json() == {"text": HOUSE["heard"]}

with calls("DifyClient.text_to_audio"):
    assert chat.text_to_audio("hello", "ada").content == bytes.fromhex(HOUSE["sound"])

with calls("DifyClient.get_application_parameters"):
    assert chat.get_application_parameters("ada").json()["opening_statement"] == HOUSE["opening_statement"]

with calls("DifyClient.get_meta"):
    assert "tool_icons" in chat.get_meta("ada").json()

with calls("DifyClient.get_app_info"):
    assert chat.get_app_info().json()["mode"] == "chat"

with calls("DifyClient.get_app_site_info"):
    assert chat.get_app_site_info().json()["title"]

with calls("DifyClient.file_upload"):
    uploaded = chat.file_upload("ada", {"file": ("dot.png", bytes.fromhex(HOUSE["image"]), "image/png")}).json()
    assert uploaded["mime_type"] == "image/png"

with calls("DifyClient.file_upload", "without a file"), refused(FileUploadError, 400, "no_file_uploaded"):
    chat.file_upload("ada", {"other": ("dot.png", b"", "image/png")})

with calls("DifyClient.get_file_preview"):
    given = {"type": "image", "transfer_method": "local_file", "upload_file_id": uploaded["id"]}
    chat.create_chat_message({}, "look", "ada", files=[given])  # type: ignore[arg-type] - as the API has it
    assert chat.get_file_preview(uploaded["id"]).content == bytes.fromhex(HOUSE["image"])

with calls("CompletionClient.create_completion_message", "blocking"):
    assert completion.create_completion_message({}, "blocking", "ada").json()["answer"] == HOUSE["answer"]

with calls("CompletionClient.create_completion_message", "streaming"):
    assert text_of(events_of(completion.create_completion_message({}, "streaming", "ada"))) == HOUSE["answer"]

for create, change, remove in (
    ("create_annotation", "update_annotation", "delete_annotation"),
    ("create_annotation_with_response", "update_annotation_with_response", "delete_annotation_with_response"),
):
    annotation: dict[str, Any] = {}
    with calls(f"ChatClient.{create}"):
        annotation = getattr(chat, create)("Who are you?", "A ledger.").json()
        assert annotation["question"] == "Who are you?"
    with calls(f"ChatClient.{change}"):
        assert getattr(chat, change)(annotation["id"], "Who?", "The ledger.").json()["answer"] == "The ledger."
    for listing in ("list_annotations", "list_annotations_with_pagination"):
        with calls(f"ChatClient.{listing}"):
            assert annotation["id"] in [each["id"] for each in getattr(chat, listing)(limit=100).json()["data"]]
    with calls(f"ChatClient.{remove}"):
        assert getattr(chat, remove)(annotation["id"]).status_code == 204

job: dict[str, Any] = {}
with calls("ChatClient.annotation_reply_action"):
    job = chat.annotation_reply_action("enable", 0.9, "openai", "text-embedding-3-small").json()
    assert job["job_status"]

for status in ("get_annotation_reply_status", "get_annotation_reply_job_status"):
    with calls(f"ChatClient.{status}"):
        assert getattr(chat, status)("enable", job["job_id"]).json()["job_status"] == "completed"

CONSOLE = {
    "get_app_site_config": ("app",),
    "update_app_site_config": ("app", {}),
    "get_app_api_tokens": ("app",),
    "create_app_api_token": ("app", "name"),
    "delete_app_api_token": ("app", "token"),
}
WORKFLOWS = {
    "run": ({},),
    "stop": (NOWHERE, "ada"),
    "get_result": (NOWHERE,),
    "get_workflow_logs": (),
    "run_specific_workflow": (NOWHERE, {}),
    "get_workflow_draft": ("app",),
    "update_workflow_draft": ("app", {}),
    "publish_workflow": ("app",),
    "get_workflow_run_history": ("app",),
}
for kind, names, absent in ((DifyClient, CONSOLE, "the console's API"), (WorkflowClient, WORKFLOWS, "workflows")):
    for name, given in names.items():
        with calls(f"{kind.__name__}.{name}", absent=absent), refused(APIError, 404, "not_found"):
            getattr(connect(kind, "chat"), name)(*given)

with calls("DifyClient.close"):
    chat.close()

calls.end(DifyClient, ChatClient, CompletionClient, WorkflowClient)
