"""The web API (section 12 of the wire contract): passports, and what visitors are answered otherwise than keys."""

import base64
import json
import uuid
from typing import Any

import httpx
import msgspec
import pytest

from chatledger.adapters.http.passports import Passport, Passports
from chatledger.application.commands.managing_apps import CreatedApp, hash_secret
from chatledger.application.errors import ForbiddenError
from chatledger.domain.configuration import Site
from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, a_context, answer_of, chat_body, events_of

NOT_COMPLETION = (
    400,
    "not_completion_app",
    "Please check if your Completion app mode matches the right API route.",
)
NO_PASSPORT = "A passport must be provided: GET /api/passport gives one."


def body(query: str = "hello", **more: Any) -> dict[str, Any]:
    """What a visitor sends: nobody says who they are."""
    sent = chat_body(query, **more)
    del sent["user"]
    return sent


@pytest.fixture
async def chat(server: LiveServer) -> CreatedApp:
    return await server.new_app(tokens=20)


@pytest.fixture
async def completion(server: LiveServer) -> CreatedApp:
    return await server.new_app("completion", tokens=3)


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


async def ask(client: httpx.AsyncClient, query: str = "hello", **more: Any) -> dict[str, Any]:
    response = await client.post("/api/chat-messages", json=body(query, **more))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def complete(client: httpx.AsyncClient, query: str = "hello") -> str:
    response = await client.post("/api/completion-messages", json=body(query))
    assert response.status_code == 200, response.text
    message_id: str = response.json()["message_id"]
    return message_id


async def ids(client: httpx.AsyncClient, path: str, **query: Any) -> list[str]:
    response = await client.get(path, params=query)
    assert response.status_code == 200, response.text
    return [entry["id"] for entry in response.json()["data"]]


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    envelope = response.json()
    assert envelope["status"] == response.status_code
    return response.status_code, envelope["code"], envelope["message"]


# Passports


async def test_a_passport_names_the_app_and_the_visitor(server, chat):
    token = await server.new_passport(chat.site_code)
    claims = claims_of(token)

    assert claims["app_id"] == str(chat.app_id)
    assert claims["app_code"] == chat.site_code
    assert {"iss", "sub", "iat", "exp", "end_user_id"} <= set(claims)
    assert len(claims["end_user_id"]) == 36


async def test_each_visitor_has_conversations_of_their_own(server, chat):
    ada, bob = await server.new_visitor(chat.site_code), await server.new_visitor(chat.site_code)
    conversation_id = (await ask(ada))["conversation_id"]

    assert await ids(ada, "/api/conversations") == [conversation_id]
    assert await ids(bob, "/api/conversations") == []
    foreign = await bob.get("/api/messages", params={"conversation_id": conversation_id})
    assert refusal(foreign) == (404, "not_found", "Conversation Not Exists.")


async def test_a_renewed_passport_is_the_same_visitor_s(server, chat):
    ada = await server.new_visitor(chat.site_code)
    conversation_id = (await ask(ada))["conversation_id"]
    earlier = ada.headers["authorization"].removeprefix("Bearer ")

    by_header = await server.new_passport(chat.site_code, Authorization=f"Bearer {earlier}")
    of_its_own = await server.new_passport(chat.site_code, **{"X-App-Passport": earlier})

    for token in (by_header, of_its_own):
        assert claims_of(token)["end_user_id"] == claims_of(earlier)["end_user_id"]
        assert await ids(server.client(token), "/api/conversations") == [conversation_id]


async def test_who_presents_no_good_passport_is_a_new_visitor(server, chat, completion):
    of_another_app = await server.new_passport(completion.site_code)
    for presented in ("nonsense", of_another_app, of_another_app[:-3]):
        token = await server.new_passport(chat.site_code, Authorization=f"Bearer {presented}")
        assert claims_of(token)["end_user_id"] != claims_of(of_another_app)["end_user_id"]
        assert await ids(server.client(token), "/api/conversations") == []


@pytest.mark.parametrize("presented", ["authorization", "header", "cookie"])
async def test_a_passport_can_be_presented_in_three_ways(server, chat, presented):
    ada = await server.new_visitor(chat.site_code)
    conversation_id = (await ask(ada))["conversation_id"]
    token = ada.headers["authorization"].removeprefix("Bearer ")
    headers = {
        "authorization": {"Authorization": f"bearer {token}"},
        "header": {"X-App-Passport": token, "Authorization": "Bearer something-else"},
        "cookie": {"Cookie": f"theme=dark; passport-{chat.site_code}={token}; other=1"},
    }[presented]

    client = server.client()
    client.headers.update(headers | {"X-App-Code": chat.site_code})

    assert await ids(client, "/api/conversations") == [conversation_id]


async def test_a_cookie_counts_only_beside_the_code(server, chat):
    token = await server.new_passport(chat.site_code)
    response = await server.client().get("/api/conversations", headers={"Cookie": f"passport-{chat.site_code}={token}"})
    assert refusal(response) == (401, "unauthorized", NO_PASSPORT)


async def test_what_opens_nothing_is_told_so(server, chat, completion):
    token = await server.new_passport(chat.site_code)
    refused = {
        NO_PASSPORT: [{}, {"X-App-Code": chat.site_code}, {"Cookie": "a=b", "X-App-Code": chat.site_code}],
        "Authorization scheme must be 'Bearer'": [{"Authorization": f"Basic {token}"}],
        "Access token is invalid": [
            {"Authorization": f"Bearer {chat.api_key}"},
            {"Authorization": f"Bearer {token[:-4]}"},
            {"Authorization": f"Bearer {token}", "X-App-Code": completion.site_code},
            {"X-App-Passport": ""},
        ],
    }
    for message, headers in ((message, given) for message, all_given in refused.items() for given in all_given):
        response = await server.client().get("/api/parameters", headers=headers)
        assert refusal(response) == (401, "unauthorized", message), headers
        assert response.headers["www-authenticate"] == 'Bearer realm="api"'
    assert (await server.client(token).get("/v1/parameters")).status_code == 401


async def test_a_passport_for_a_visitor_whom_the_app_never_saw_opens_nothing(server, chat, completion):
    elsewhere = uuid.UUID(claims_of(await server.new_passport(completion.site_code))["end_user_id"])
    application = server.running.application
    passports = Passports(application.signing_keys, application.clock, 60)
    for end_user_id in (uuid.uuid4(), elsewhere):
        token = passports.issue(Passport(chat.app_id, chat.site_code, end_user_id))
        response = await server.client(token).get("/api/parameters")
        assert refusal(response) == (401, "unauthorized", "Access token is invalid")


async def test_new_visitors_count_against_the_limit_of_an_app_s_visitors(server):
    app = await server.new_app(configuration={"limits": {"requests_per_minute": 2}})
    for _ in range(2):
        await server.new_passport(app.site_code)
    before = await server.head()
    refused = await server.client().get("/api/passport", headers={"X-App-Code": app.site_code})

    assert refusal(refused)[0] == 429
    assert int(refused.headers["retry-after"]) > 0
    assert await server.head() == before
    assert (await server.client(app.api_key).get("/v1/conversations?user=ada")).status_code == 200


async def test_no_code_and_an_unknown_code(server, chat):
    nothing = await server.client().get("/api/passport")
    unknown = await server.client().get("/api/passport", headers={"X-App-Code": "A1b2C3d4E5f6G7h8"})

    key_hash = hash_secret(chat.api_key)
    assert (await server.client(chat.api_key).get("/v1/info")).status_code == 200
    of_a_key = await server.client().get("/api/passport", headers={"X-App-Code": key_hash})

    assert refusal(nothing) == (401, "unauthorized", "X-App-Code header is missing.")
    assert refusal(of_a_key) == (404, "not_found", "Site Not Exists.")
    assert refusal(unknown) == (404, "not_found", "Site Not Exists.")


async def test_an_expired_passport_opens_nothing_and_begins_anew(server, chat):
    end_user_id = claims_of(await server.new_passport(chat.site_code))["end_user_id"]
    application = server.running.application
    expiring = Passports(application.signing_keys, application.clock, -1)
    token = expiring.issue(Passport(chat.app_id, chat.site_code, uuid.UUID(end_user_id)))

    response = await server.client(token).get("/api/parameters")
    assert refusal(response) == (401, "unauthorized", "Access token is invalid")
    renewed = await server.new_passport(chat.site_code, Authorization=f"Bearer {token}")
    assert claims_of(renewed)["end_user_id"] != end_user_id


@ON_SQLITE
async def test_a_passport_outlives_the_server_and_the_rotation_of_its_key(serve):
    async with serve() as live:
        app = await live.new_app(tokens=1)
        ada = await live.new_visitor(app.site_code)
        token = ada.headers["authorization"].removeprefix("Bearer ")
        conversation_id = (await ask(ada))["conversation_id"]
    async with serve() as live:
        live.running.application.signing_keys.rotate(forget_earlier=False)
        assert await ids(live.client(token), "/api/conversations") == [conversation_id]
        renewed = await live.new_passport(app.site_code, Authorization=f"Bearer {token}")
        live.running.application.signing_keys.rotate(forget_earlier=True)
        for forgotten in (token, renewed):
            assert (await live.client(forgotten).get("/api/conversations")).status_code == 401


# The site, and the states of an app


async def test_a_renewed_site_lets_nobody_in_under_its_old_code(server, chat):
    ada = await server.new_visitor(chat.site_code)
    conversation_id = (await ask(ada))["conversation_id"]
    code = await server.running.application.apps.renew_site(chat.app_id, a_context())

    gone = (400, "bad_request", "Site URL is no longer valid.")
    assert refusal(await ada.get("/api/conversations")) == gone
    assert refusal(await server.client().get("/api/passport", headers={"X-App-Code": chat.site_code})) == gone
    token = await server.new_passport(code, Authorization=ada.headers["authorization"])
    assert await ids(server.client(token), "/api/conversations") == [conversation_id]


async def test_a_site_that_is_switched_off(server, chat):
    ada = await server.new_visitor(chat.site_code)
    application = server.running.application
    shown = (await application.directory.app(chat.app_id)).configuration
    closed = msgspec.structs.replace(shown, site=Site(enabled=False))
    await application.apps.configure(chat.app_id, closed, a_context())

    disabled = (400, "bad_request", "Site is disabled.")
    assert refusal(await ada.post("/api/chat-messages", json=body())) == disabled
    assert refusal(await server.client().get("/api/passport", headers={"X-App-Code": chat.site_code})) == disabled
    by_key = server.client(chat.api_key)
    assert refusal(await by_key.get("/v1/site"))[:2] == (403, "forbidden")
    assert (await by_key.get("/v1/info")).status_code == 200
    await application.apps.configure(chat.app_id, shown, a_context())
    assert (await ada.get("/api/site")).status_code == 200


@pytest.mark.parametrize(
    ("state", "message"),
    [("disable", "The app's API service has been disabled."), ("delete", "The app no longer exists.")],
)
async def test_an_app_that_answers_nobody(server, chat, state, message):
    ada, by_key = await server.new_visitor(chat.site_code), server.client(chat.api_key)
    message_id = (await ask(ada))["message_id"]
    await getattr(server.running.application.apps, state)(chat.app_id, a_context())

    for response in (await by_key.get("/v1/info"), await by_key.post("/v1/chat-messages", json={})):
        assert refusal(response) == (403, "forbidden", message)
    assert refusal(await ada.get("/api/conversations")) == (404, "not_found", "Site Not Exists.")
    nobody = await server.client().get("/api/passport", headers={"X-App-Code": chat.site_code})
    assert refusal(nobody) == (404, "not_found", "Site Not Exists.")
    operator = server.client(await server.new_token("audit"))
    kept = (await operator.get(f"/v1/messages/{message_id}/events")).json()["data"]
    assert kept[0]["type"] == "MessageCreated"


async def test_an_app_that_is_enabled_again_answers_as_before(server, chat):
    ada, by_key = await server.new_visitor(chat.site_code), server.client(chat.api_key)
    conversation_id = (await ask(ada))["conversation_id"]
    apps = server.running.application.apps
    await apps.disable(chat.app_id, a_context())
    await apps.enable(chat.app_id, a_context())

    assert await ids(ada, "/api/conversations") == [conversation_id]
    assert (await by_key.get("/v1/info")).status_code == 200


@pytest.mark.parametrize("again", ["configure", "rotate_key", "renew_site", "disable", "enable", "delete"])
async def test_nothing_can_be_done_with_a_deleted_app(server, chat, again):
    apps = server.running.application.apps
    view = await server.running.application.directory.app(chat.app_id)
    await apps.delete(chat.app_id, a_context())
    before = await server.head()

    with pytest.raises(ForbiddenError, match="no longer exists"):
        await getattr(apps, again)(chat.app_id, *([view.configuration] if again == "configure" else []), a_context())
    assert await server.head() == before


# What visitors are told of the app


async def test_the_site_as_it_is_set_up(server):
    app = await server.new_app(configuration={"site": {"title": "Ask us", "icon": "x", "icon_type": "emoji"}})
    plain = await server.new_app()
    for path, client in (("/api", await server.new_visitor(app.site_code)), ("/v1", server.client(app.api_key))):
        assert (await client.get(f"{path}/site")).json() == {
            "title": "Ask us",
            "chat_color_theme": None,
            "chat_color_theme_inverted": False,
            "icon_type": "emoji",
            "icon": "x",
            "icon_background": None,
            "icon_url": None,
            "description": None,
            "copyright": None,
            "privacy_policy": None,
            "input_placeholder": None,
            "custom_disclaimer": None,
            "default_language": "en-US",
            "show_workflow_steps": False,
            "use_icon_as_answer_icon": False,
        }
    assert (await server.client(plain.api_key).get("/v1/site")).json()["title"] == "an app for chat"


async def test_the_icons_of_the_tools(server, chat):
    icons = {"clock": "https://icons.example.org/clock.png", "sum": {"background": "#fff", "content": "+"}}
    app = await server.new_app(configuration={"tool_icons": icons})
    for path, client in (("/api", await server.new_visitor(app.site_code)), ("/v1", server.client(app.api_key))):
        assert (await client.get(f"{path}/meta")).json() == {"tool_icons": icons}
    assert (await server.client(chat.api_key).get("/v1/meta")).json() == {"tool_icons": {}}


async def test_the_app_is_described_alike_at_both_entrances(server, chat):
    visitor, by_key = await server.new_visitor(chat.site_code), server.client(chat.api_key)
    for what in ("parameters", "info", "meta", "site"):
        assert (await visitor.get(f"/api/{what}")).json() == (await by_key.get(f"/v1/{what}")).json()


# Messages of visitors


async def test_visitors_and_users_are_distinct_even_by_the_same_name(server, chat):
    ada, by_key = await server.new_visitor(chat.site_code), server.client(chat.api_key)
    name = claims_of(ada.headers["authorization"])["end_user_id"]
    visited = (await ask(ada))["conversation_id"]
    sent = (await by_key.post("/v1/chat-messages", json=chat_body(user=name))).json()["conversation_id"]

    assert await ids(ada, "/api/conversations") == [visited]
    assert await ids(by_key, "/v1/conversations", user=name) == [sent]
    for client, path, other in ((ada, "/api", sent), (by_key, "/v1", visited)):
        response = await client.get(f"{path}/messages", params={"conversation_id": other, "user": name})
        assert refusal(response) == (404, "not_found", "Conversation Not Exists.")
        response = await client.post(f"{path}/chat-messages", json=chat_body(user=name, conversation_id=other))
        assert refusal(response) == (404, "not_found", "Conversation Not Exists.")


async def test_a_key_that_names_nobody_acts_as_the_visitor_whose_it_is(server, chat):
    ada, by_key = await server.new_visitor(chat.site_code), server.client(chat.api_key)
    asked = await ask(ada)

    rated = await by_key.post(f"/v1/messages/{asked['message_id']}/feedbacks", json={"rating": "like"})
    params = {"conversation_id": asked["conversation_id"]}
    (message,) = (await ada.get("/api/messages", params=params)).json()["data"]
    deleted = await by_key.delete(f"/v1/conversations/{asked['conversation_id']}")

    assert (rated.status_code, message["feedback"]["rating"], deleted.status_code) == (200, "like", 204)
    assert await ids(ada, "/api/conversations") == []


async def test_a_visitor_cannot_pose_as_another_by_naming_a_user(server, chat):
    ada, bob = await server.new_visitor(chat.site_code), await server.new_visitor(chat.site_code)
    conversation_id = (await ask(ada))["conversation_id"]
    name = claims_of(ada.headers["authorization"])["end_user_id"]

    assert await ids(bob, "/api/conversations", user=name) == []
    sent = await bob.post("/api/chat-messages", json=chat_body(user=name, conversation_id=conversation_id))
    assert refusal(sent) == (404, "not_found", "Conversation Not Exists.")


async def test_a_stream_is_the_same_as_for_a_key(server, chat):
    ada = await server.new_visitor(chat.site_code)
    response = await ada.post("/api/chat-messages", json=body(response_mode="streaming"))
    events = events_of(response.text)

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer_of(events) == "".join(f"t{number} " for number in range(20))
    assert events[-1]["event"] == "message_end"
    assert set(events[-1]["metadata"]) >= {"usage", "retriever_resources", "annotation_reply"}
    assert all(event["task_id"] for event in events)


async def test_a_conversation_is_not_named_by_itself(server, chat):
    ada = await server.new_visitor(chat.site_code)
    await ask(ada, "What is it that this conversation is about?", auto_generate_name=True)

    (shown,) = (await ada.get("/api/conversations")).json()["data"]
    assert shown["name"] == "What is it that this…"


async def test_an_answer_that_nobody_waits_for(server, chat):
    ada, bob = await server.new_visitor(chat.site_code), await server.new_visitor(chat.site_code)
    accepted = await ada.post("/api/chat-messages", json=body(response_mode="async"))
    sent, task = accepted.json(), accepted.headers["location"]
    streamed = await ada.get(f"/api/messages/{sent['message_id']}/stream")

    assert (accepted.status_code, task) == (202, f"/api/tasks/{sent['task_id']}")
    assert answer_of(events_of(streamed.text)) == "".join(f"t{number} " for number in range(20))
    assert (await ada.get(task)).json()["status"] == "completed"
    assert (await ada.get(f"/api/messages/{sent['message_id']}")).json()["query"] == "hello"
    facts = (await ada.get(f"/api/messages/{sent['message_id']}/events")).json()["data"]
    assert facts[0]["type"] == "MessageCreated"
    assert "parameters" not in facts[0]["data"]
    for path in ("", "/stream", "/events"):
        response = await bob.get(f"/api/messages/{sent['message_id']}{path}")
        assert refusal(response) == (404, "not_found", "Message Not Exists.")
    assert refusal(await bob.get(task)) == (404, "not_found", "Task Not Exists.")
    operator = server.client(await server.new_token("audit"))
    assert (await operator.get(task)).status_code == 401


async def test_a_stop_needs_no_body(server):
    app = await server.new_app(tokens=10_000, interval_ms=10)
    ada, bob = await server.new_visitor(app.site_code), await server.new_visitor(app.site_code)
    async with ada.stream("POST", "/api/chat-messages", json=body(response_mode="streaming")) as response:
        lines = (line async for line in response.aiter_lines() if line.startswith("data: "))
        task_id = json.loads((await anext(lines))[6:])["task_id"]
        foreign = await bob.post(f"/api/chat-messages/{task_id}/stop")
        unknown = await ada.post(f"/api/chat-messages/{uuid.uuid4()}/stop")
        again = json.loads((await anext(lines))[6:])
        stopped = await ada.post(f"/api/chat-messages/{task_id}/stop")
        rest = [json.loads(line[6:]) async for line in lines]

    assert again["event"] == "message"
    assert [answered.json() for answered in (foreign, unknown, stopped)] == [{"result": "success"}] * 3
    assert rest[-1]["event"] == "message_end"
    assert rest[-1]["metadata"]["stopped_by"] == "user"


async def test_history_has_the_metadata(server, chat):
    ada, by_key = await server.new_visitor(chat.site_code), server.client(chat.api_key)
    conversation_id = (await ask(ada))["conversation_id"]

    visited = (await ada.get("/api/messages", params={"conversation_id": conversation_id})).json()["data"]
    read = (await by_key.get("/v1/messages", params={"conversation_id": conversation_id})).json()["data"]

    assert set(visited[0]["metadata"]) == {"annotation_reply", "retriever_resources", "usage"}
    assert visited[0]["metadata"]["usage"]["total_tokens"] == visited[0]["total_tokens"]
    assert visited == read


async def test_a_whole_answer_tells_visitors_less_of_itself(server, chat):
    ada = await server.new_visitor(chat.site_code)
    answer = await ask(ada)

    assert answer["answer"]
    assert "usage" not in answer["metadata"]
    assert "annotation_reply" not in answer["metadata"]
    assert answer["metadata"]["retriever_resources"] == []


async def test_a_rating_needs_no_user(server, chat):
    ada, bob = await server.new_visitor(chat.site_code), await server.new_visitor(chat.site_code)
    given = await ask(ada)
    path = f"/api/messages/{given['message_id']}/feedbacks"

    assert (await ada.post(path, json={"rating": "like", "content": "well said"})).json() == {"result": "success"}
    assert refusal(await bob.post(path, json={"rating": "like"})) == (404, "not_found", "Message Not Exists.")
    shown = await ada.get("/api/messages", params={"conversation_id": given["conversation_id"]})
    assert shown.json()["data"][0]["feedback"] == {"rating": "like", "content": "well said"}


async def test_sound_is_for_visitors_where_the_app_has_it(server, chat):
    ada = await server.new_visitor(chat.site_code)
    said = await ada.post("/api/text-to-audio", json={"text": "hello"})
    heard = await ada.post("/api/audio-to-text", files={"file": ("a.wav", b"RIFF", "audio/wav")})

    assert refusal(said) == (400, "invalid_param", "TTS is not enabled")
    assert refusal(heard)[:2] == (400, "speech_to_text_disabled")


@pytest.mark.parametrize("route", ["/api/completion-messages", "/api/completion-messages/some-task/stop"])
async def test_a_completion_route_of_a_chat_app(server, chat, route):
    ada = await server.new_visitor(chat.site_code)
    assert refusal(await ada.post(route, json=body())) == NOT_COMPLETION


@pytest.mark.parametrize("route", ["/api/chat-messages", "/api/chat-messages/some-task/stop"])
async def test_a_chat_route_of_a_completion_app(server, completion, route):
    ada = await server.new_visitor(completion.site_code)
    response = await ada.post(route, json=body())
    assert refusal(response) == (400, "not_chat_app", "Please check if your app mode matches the right API route.")


# Saved messages


async def test_saved_messages_the_last_saved_first(server, completion):
    ada = await server.new_visitor(completion.site_code)
    sent = [await complete(ada, f"text {number}") for number in range(5)]
    for message_id in (sent[2], sent[0], sent[4], sent[1], sent[0]):
        response = await ada.post("/api/saved-messages", json={"message_id": message_id})
        assert (response.status_code, response.json()) == (200, {"result": "success"})

    first = (await ada.get("/api/saved-messages", params={"limit": 2})).json()
    rest = (await ada.get("/api/saved-messages", params={"last_id": first["data"][-1]["id"]})).json()
    assert (first["limit"], first["has_more"], rest["limit"], rest["has_more"]) == (2, True, 20, False)
    assert [entry["id"] for entry in first["data"] + rest["data"]] == [sent[1], sent[4], sent[0], sent[2]]
    assert first["data"][0] == {
        "id": sent[1],
        "inputs": {},
        "query": "text 1",
        "answer": "t0 t1 t2 ",
        "message_files": [],
        "feedback": None,
        "created_at": first["data"][0]["created_at"],
    }


async def test_a_message_that_is_let_go_is_no_longer_among_them(server, completion):
    ada = await server.new_visitor(completion.site_code)
    message_id = await complete(ada)
    await ada.post("/api/saved-messages", json={"message_id": message_id})

    for _ in range(2):
        response = await ada.delete(f"/api/saved-messages/{message_id}")
        assert (response.status_code, response.content) == (204, b"")
    assert await ids(ada, "/api/saved-messages") == []


async def test_saving_twice_and_letting_go_what_is_not_saved_are_no_facts(server, completion):
    ada = await server.new_visitor(completion.site_code)
    message_id = await complete(ada)
    await ada.delete(f"/api/saved-messages/{message_id}")
    await ada.post("/api/saved-messages", json={"message_id": message_id})
    await ada.post("/api/saved-messages", json={"message_id": message_id})
    operator = server.client(await server.new_token("audit"))
    facts = (await operator.get(f"/v1/messages/{message_id}/events", params={"limit": 100})).json()["data"]

    assert [fact["type"] for fact in facts].count("MessageSaved") == 1
    assert [fact["type"] for fact in facts].count("MessageUnsaved") == 0


async def test_what_is_another_s_can_neither_be_saved_nor_let_go(server, completion):
    ada, bob = await server.new_visitor(completion.site_code), await server.new_visitor(completion.site_code)
    message_id = await complete(ada)
    await ada.post("/api/saved-messages", json={"message_id": message_id})

    saved = await bob.post("/api/saved-messages", json={"message_id": message_id})
    assert refusal(saved) == (404, "not_found", "Message Not Exists.")
    for unknown in (message_id, str(uuid.uuid4()), "nonsense"):
        assert (await bob.delete(f"/api/saved-messages/{unknown}")).status_code == 204
    assert await ids(ada, "/api/saved-messages") == [message_id]
    assert await ids(bob, "/api/saved-messages") == []


@pytest.mark.parametrize(
    "given", [{}, {"message_id": None}, {"message_id": 5}, {"message_id": "x"}, {"message_id": ""}]
)
async def test_which_message_to_save_has_to_be_said(server, completion, given):
    ada = await server.new_visitor(completion.site_code)
    response = await ada.post("/api/saved-messages", json=given)
    assert refusal(response)[:2] == (400, "invalid_param")
    assert response.json()["params"] == "message_id"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"last_id": "x"}, "last_id"),
        ({"last_id": uuid.UUID(int=1)}, "last_id"),
    ],
)
async def test_a_page_of_saved_messages_that_cannot_be(server, completion, query, field):
    ada = await server.new_visitor(completion.site_code)
    for _ in range(2):
        response = await ada.get("/api/saved-messages", params=query)
        assert refusal(response)[:2] == (400, "invalid_param")
        assert response.json()["params"] == field
        await ada.post("/api/saved-messages", json={"message_id": await complete(ada)})


async def test_a_chat_app_has_no_saved_messages(server, chat):
    ada = await server.new_visitor(chat.site_code)
    message_id = (await ask(ada))["message_id"]
    for response in (
        await ada.get("/api/saved-messages"),
        await ada.post("/api/saved-messages", json={"message_id": message_id}),
        await ada.delete(f"/api/saved-messages/{message_id}"),
    ):
        assert refusal(response) == NOT_COMPLETION


# Pins


async def test_pinned_conversations(server, chat):
    ada = await server.new_visitor(chat.site_code)
    first, second, third = [(await ask(ada, query))["conversation_id"] for query in ("one", "two", "three")]
    for conversation_id in (first, second, first):
        response = await ada.patch(f"/api/conversations/{conversation_id}/pin")
        assert (response.status_code, response.json()) == (200, {"result": "success"})
    for _ in range(2):
        response = await ada.patch(f"/api/conversations/{second}/unpin")
        assert (response.status_code, response.json()) == (200, {"result": "success"})

    assert await ids(ada, "/api/conversations", pinned="true") == [first]
    assert await ids(ada, "/api/conversations", pinned="false") == [third, second]
    for everything in ({}, {"pinned": ""}):
        assert await ids(ada, "/api/conversations", **everything) == [third, second, first]


async def test_pinned_conversations_page_by_page(server, chat):
    ada = await server.new_visitor(chat.site_code)
    sent = [(await ask(ada, str(number)))["conversation_id"] for number in range(5)]
    for conversation_id in sent[::2]:
        await ada.patch(f"/api/conversations/{conversation_id}/pin")

    found, last_id = [], ""
    while len(found) < 3:
        page = (await ada.get("/api/conversations", params={"pinned": "1", "limit": 1, "last_id": last_id})).json()
        (entry,) = page["data"]
        found.append(entry["id"])
        last_id = entry["id"]
        assert page["has_more"] == (len(found) < 3)
    assert found == [sent[4], sent[2], sent[0]]


async def test_pinning_moves_no_conversation_and_repeating_it_is_no_fact(server, chat):
    ada = await server.new_visitor(chat.site_code)
    first = (await ask(ada))["conversation_id"]
    second = (await ask(ada))["conversation_id"]
    before = await server.head()
    await ada.patch(f"/api/conversations/{first}/unpin")
    await ada.patch(f"/api/conversations/{first}/pin")
    await ada.patch(f"/api/conversations/{first}/pin")

    assert await server.head() == before + 1
    assert await ids(ada, "/api/conversations") == [second, first]


async def test_another_s_conversation_can_be_neither_pinned_nor_unpinned(server, chat):
    ada, bob = await server.new_visitor(chat.site_code), await server.new_visitor(chat.site_code)
    conversation_id = (await ask(ada))["conversation_id"]
    await ada.patch(f"/api/conversations/{conversation_id}/pin")
    before = await server.head()

    for unknown in (conversation_id, uuid.uuid4()):
        response = await bob.patch(f"/api/conversations/{unknown}/pin")
        assert refusal(response) == (404, "not_found", "Conversation Not Exists.")
    for unknown in (conversation_id, uuid.uuid4(), "nonsense"):
        assert (await bob.patch(f"/api/conversations/{unknown}/unpin")).json() == {"result": "success"}
    assert (await server.head()) == before


async def test_a_completion_app_has_no_pins(server, completion):
    ada = await server.new_visitor(completion.site_code)
    for route in ("pin", "unpin"):
        response = await ada.patch(f"/api/conversations/{uuid.uuid4()}/{route}")
        assert refusal(response)[:2] == (400, "not_chat_app")
