"""What the documentation says of the code is so."""

import re
from pathlib import Path

from chatledger.server_settings import ServerSettings

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


def test_every_link_of_the_documentation_leads_to_a_file():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
