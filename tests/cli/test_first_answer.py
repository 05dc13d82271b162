"""The first answers of a server that was just set up: no network, no key of any provider, nothing configured."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatledger.adapters.generator.document_library import DOCUMENTATION
from tests.support.process import ServerProcess, run_json

QUESTION = "How do I stop a running answer?"
PHRASE = "POST /v1/chat-messages/{task_id}/stop"

# Whoever asks for an address gets one where nobody listens.
NO_NETWORK = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
NO_KEY = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}


@pytest.fixture
def server(data_folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(data_folder, env=NO_NETWORK | NO_KEY) as started:
        yield started


@pytest.fixture
def api_key(server: ServerProcess) -> str:
    credentials = tomllib.loads((server.data_folder / "first-credentials.toml").read_text())
    key: str = credentials["chat"]["api_key"]
    return key


def streamed(server: ServerProcess, api_key: str, query: str) -> list[dict[str, Any]]:
    body = {"inputs": {}, "query": query, "user": "ann", "response_mode": "streaming"}
    headers = {"Authorization": f"Bearer {api_key}"}
    with httpx.stream("POST", f"{server.url}/v1/chat-messages", json=body, headers=headers, timeout=30) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def check_sources(answer: str, metadata: dict[str, Any]) -> None:
    first, *_ = metadata["retriever_resources"]
    assert (first["position"], first["document_name"]) == (1, "stopping.md")
    assert PHRASE in first["content"]
    assert first["content"] in (DOCUMENTATION / first["document_name"]).read_text()
    assert answer.startswith("> " + first["content"].splitlines()[0])
    assert f"[1] **{first['title']}** (stopping.md)" in answer


def test_a_new_server_answers_from_its_documentation(server, api_key, talk) -> None:
    whole = talk(server.url, api_key, QUESTION)
    check_sources(whole["answer"], whole["metadata"])

    events = streamed(server, api_key, QUESTION)
    text = "".join(event["answer"] for event in events if event["event"] == "message")
    assert [event["event"] for event in events].count("message_end") == 1
    assert events[-1]["event"] == "message_end"
    assert text == whole["answer"]
    check_sources(text, events[-1]["metadata"])

    nothing = talk(server.url, api_key, "What is the capital of France?")
    assert nothing["answer"].startswith("I found nothing about this in")
    assert nothing["metadata"]["retriever_resources"] == []


def test_two_chinese_characters_find_their_passage_in_a_folder(server, tmp_path, talk) -> None:
    folder = tmp_path / "handbook"
    folder.mkdir()
    passage = "退货须在收货后三十天内提出申请。"
    (folder / "规定.txt").write_text(f"{passage}\n", encoding="utf-8")
    (folder / "其他.txt").write_text("营业时间为上午九点至下午六点。\n", encoding="utf-8")
    settings = ("--generator", "extractive", "--set", f"folder={folder}")
    made = run_json(server.data_folder, "apps", "create", "--mode", "chat", "--name", "手册", *settings)

    answer = talk(server.url, made["api_key"], "收货")
    (source,) = answer["metadata"]["retriever_resources"]
    assert (source["document_name"], source["content"]) == ("规定.txt", passage)
    assert passage in answer["answer"]
