"""What a client is told of an app to draw its form and features (contract, section 8)."""

from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer

FORM = [
    {"variable": "name", "type": "text-input", "label": "Your name", "required": True, "max_length": 40},
    {"variable": "story", "type": "paragraph", "default": "Once", "description": "whatever comes to mind"},
    {"variable": "tone", "type": "select", "options": ["kind", "dry"]},
    {"variable": "count", "type": "number", "default": 7},
    {"variable": "brief", "type": "checkbox", "default": False, "hide": True},
    {
        "variable": "photo",
        "type": "file",
        "allowed_file_types": ["image"],
        "allowed_file_upload_methods": ["local_file"],
    },
    {"variable": "papers", "type": "file-list", "max_length": 3, "allowed_file_extensions": [".pdf"]},
    {"variable": "more", "type": "json_object", "default": {"a": 1}},
]


def plain(variable: str, **more: object) -> dict[str, object]:
    return {"label": variable, "variable": variable, "required": False, "default": ""} | more


@ON_SQLITE
async def test_everything_that_an_app_has_on(server: LiveServer) -> None:
    configuration = {
        "opening_statement": "Hello",
        "suggested_questions": ["What now?"],
        "suggested_questions_after_answer": {"enabled": True},
        "more_like_this": {"enabled": True},
        "retriever_resource": False,
        "text_to_speech": {"voice": "alloy", "language": "en-GB"},
        "sensitive_word_avoidance": {
            "enabled": True,
            "keywords": ["secret"],
            "inputs_config": {"enabled": True, "preset_response": "No."},
        },
        "file_upload": {"enabled": True, "kinds": ["document"], "number_limits": 5, "transfer_methods": ["local_file"]},
        "user_input_form": FORM,
    }
    made = await server.new_app(configuration=configuration)
    told = (await server.client(made.api_key).get("/v1/parameters")).json()
    limits = told.pop("system_parameters")
    assert all(isinstance(value, int) and value > 0 for value in limits.values())
    assert told == {
        "opening_statement": "Hello",
        "suggested_questions": ["What now?"],
        "suggested_questions_after_answer": {"enabled": True},
        "speech_to_text": {"enabled": False},
        "text_to_speech": {"enabled": False, "voice": "alloy", "language": "en-GB", "autoPlay": "disabled"},
        "retriever_resource": {"enabled": False},
        "annotation_reply": {"enabled": False},
        "more_like_this": {"enabled": True},
        "sensitive_word_avoidance": {"enabled": True, "type": "keywords", "configs": []},
        "file_upload": {
            "enabled": True,
            "number_limits": 5,
            "allowed_file_types": ["document"],
            "allowed_file_upload_methods": ["local_file"],
            "image": {"enabled": False, "number_limits": 5, "detail": "high", "transfer_methods": ["local_file"]},
        },
        "user_input_form": [
            {"text-input": plain("name", label="Your name", required=True, max_length=40)},
            {"paragraph": plain("story", default="Once", description="whatever comes to mind")},
            {"select": plain("tone", options=["kind", "dry"])},
            {"number": plain("count", default=7)},
            {"checkbox": plain("brief", default=False, hide=True)},
            {
                "file": plain(
                    "photo", default=None, allowed_file_types=["image"], allowed_file_upload_methods=["local_file"]
                )
            },
            {"file-list": plain("papers", default=None, max_length=3, allowed_file_extensions=[".pdf"])},
            {"json_object": plain("more", default={"a": 1})},
        ],
    }
    web = (await (await server.new_visitor(made.site_code)).get("/api/parameters")).json()
    assert web["user_input_form"] == told["user_input_form"]
