"""What the documentation says of the code is so."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import msgspec

from chatledger.adapters.generator.agent import AgentGenerator
from chatledger.adapters.generator.agent_settings import AgentSettings
from chatledger.adapters.generator.scripted import ScriptedSettings
from chatledger.domain.configuration import AppConfiguration
from chatledger.server_settings import ServerSettings
from scripts import scaling

ROOT = Path(__file__).resolve().parent.parent


def test_every_setting_is_documented_with_its_default():
    text = (ROOT / "docs" / "settings.md").read_text()
    documented: dict[str, str] = {}
    for row in re.findall(r"^\|([^|]*`[^|]*)\|([^|]*)\|", text, re.MULTILINE):
        names, defaults = (re.findall(r"`(.+?)`", cell) for cell in row)
        documented |= dict(zip(names, defaults or [""] * len(names), strict=True))
    actual = {}
    for name, field in ServerSettings.model_fields.items():
        default = field.default
        if isinstance(default, tuple):
            default = ", ".join(default)
        actual[name] = "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
    assert documented == actual


def test_every_field_of_an_apps_configuration_is_documented_with_its_default():
    text = (ROOT / "docs" / "app-configuration.md").read_text()
    documented: dict[str, str] = {}
    for row in re.findall(r"^\|([^|]*`[^|]*)\|([^|]*)\|", text, re.MULTILINE):
        names, defaults = (re.findall(r"`(.+?)`", cell) for cell in row)
        documented |= dict(zip(names, defaults or [""] * len(names), strict=True))
    assert documented == dict(fields_of(AppConfiguration))


def test_every_setting_and_every_tool_of_agents_is_documented():
    text = (ROOT / "docs" / "agents.md").read_text()
    named = {
        name for cell in re.findall(r"^\|([^|]*`[^|]*)\|", text, re.MULTILINE) for name in re.findall(r"`(.+?)`", cell)
    }
    assert named == {*AgentSettings.__struct_fields__, *AgentGenerator().tool_names}


def test_every_setting_of_scripted_generators_is_documented():
    named = set(re.findall(r"`(.+?)`", (ROOT / "docs" / "app-configuration.md").read_text()))
    assert named >= set(ScriptedSettings.__struct_fields__)


def fields_of(part: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The name of each field, within its tables, and its default; nothing for one that has to be there or is None."""
    for field in msgspec.structs.fields(part):
        name, kind = f"{prefix}{field.name}", field.type
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from fields_of(kind, f"{name}.")
            continue
        default = field.default_factory() if callable(field.default_factory) else field.default
        yield name, "" if default is None or default is msgspec.NODEFAULT else msgspec.json.encode(default).decode()
        for item in get_args(kind) if get_origin(kind) is tuple else ():
            if isinstance(item, type) and issubclass(item, msgspec.Struct):
                yield from fields_of(item, f"{name}[].")


def test_every_link_of_the_documentation_leads_to_a_file():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_tables_on_scaling_are_those_that_are_worked_out():
    page = scaling.PAGE.read_text()
    assert scaling.written(page, scaling.Measured()) == page
