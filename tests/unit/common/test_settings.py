from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from hub_common.settings import SettingDoc, SettingsError, describe, load


class Sample(msgspec.Struct, frozen=True):
    address: Annotated[str, Meta(description="Where to listen.")] = "127.0.0.1:1"
    port: Annotated[int, Meta(ge=0, le=65535, description="A port.")] = 0
    wait_s: float = 1.5
    enabled: bool = False
    hosts: tuple[str, ...] = ("a", "b")
    ports: tuple[int, ...] = ()
    style: Literal["console", "json"] = "console"
    limit: Annotated[int, Meta(ge=1)] | None = None
    api_key: Annotated[str | None, Meta(description="A key.", extra={"env": ("OTHER_KEY", "THIRD_KEY")})] = None
    token_count: int = 0


class Strict(msgspec.Struct):
    name: str


def faults(struct_type: type[msgspec.Struct], **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(struct_type, "HUB_X", environ)
    return caught.value.faults


def test_nothing_set_gives_the_defaults() -> None:
    assert load(Sample, "HUB_X", {"PATH": "/bin", "HUB_XY_PORT": "1"}) == Sample()


def test_every_type_is_read() -> None:
    environ = {
        "HUB_X_ADDRESS": " unix:/x ",
        "HUB_X_PORT": "8080",
        "HUB_X_WAIT_S": "2",
        "HUB_X_ENABLED": "Yes",
        "HUB_X_HOSTS": "x, y,,z ",
        "HUB_X_PORTS": "1,2",
        "HUB_X_STYLE": "json",
        "HUB_X_LIMIT": "3",
    }
    read = load(Sample, "HUB_X_", environ)
    assert read == Sample("unix:/x", 8080, 2.0, True, ("x", "y", "z"), (1, 2), "json", 3)
    assert isinstance(read.wait_s, float)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("ON", True), ("1", True), ("false", False), ("off", False), ("0", False)]
)
def test_booleans(text: str, value: bool) -> None:
    assert load(Sample, "HUB_X", {"HUB_X_ENABLED": text}).enabled is value


def test_blank_is_not_set() -> None:
    environ = {"HUB_X_PORT": "", "HUB_X_LIMIT": " ", "HUB_X_HOSTS": "", "HUB_X_API_KEY": "", "OTHER_KEY": ""}
    assert load(Sample, "HUB_X", environ) == Sample()


def test_further_names_are_read_in_order() -> None:
    assert load(Sample, "HUB_X", {"THIRD_KEY": "c"}).api_key == "c"
    assert load(Sample, "HUB_X", {"THIRD_KEY": "c", "OTHER_KEY": "b"}).api_key == "b"
    assert load(Sample, "HUB_X", {"THIRD_KEY": "c", "OTHER_KEY": "b", "HUB_X_API_KEY": "a"}).api_key == "a"


def test_every_fault_is_told() -> None:
    assert faults(
        Sample,
        HUB_X_PORT="70000",
        HUB_X_WAIT_S="nan",
        HUB_X_ENABLED="maybe",
        HUB_X_PORTS="1,two",
        HUB_X_STYLE="xml",
        HUB_X_LIMIT="0",
        HUB_X_ADRESS="typo",
        HUB_X_ZZZ="?",
    ) == [
        "HUB_X_PORT: expected int <= 65535 (given: '70000')",
        "HUB_X_WAIT_S: expected number (given: 'nan')",
        "HUB_X_ENABLED: expected true or false (given: 'maybe')",
        "HUB_X_PORTS: expected whole number (given: '1,two')",
        "HUB_X_STYLE: expected console or json (given: 'xml')",
        "HUB_X_LIMIT: expected int >= 1 (given: '0')",
        "HUB_X_ADRESS: is no setting, did you mean HUB_X_ADDRESS?",
        "HUB_X_ZZZ: is no setting",
    ]


def test_a_secret_value_is_not_told() -> None:
    assert faults(Sample, HUB_X_TOKEN_COUNT="hunter2") == ["HUB_X_TOKEN_COUNT: expected whole number"]


def test_a_required_setting() -> None:
    assert faults(Strict) == ["HUB_X_NAME: is required"]
    assert load(Strict, "HUB_X", {"HUB_X_NAME": "n"}) == Strict("n")


def test_describe() -> None:
    documents = {document.name: document for document in describe(Sample, "HUB_X")}
    assert list(documents)[:2] == ["HUB_X_ADDRESS", "HUB_X_PORT"]
    assert documents["HUB_X_PORT"] == SettingDoc("HUB_X_PORT", "whole number", "0", "A port.")
    assert documents["HUB_X_HOSTS"] == SettingDoc("HUB_X_HOSTS", "texts separated by commas", "a,b", "")
    assert documents["HUB_X_STYLE"].type == "console or json"
    assert documents["HUB_X_ENABLED"].default == "false"
    assert documents["HUB_X_LIMIT"] == SettingDoc("HUB_X_LIMIT", "whole number", "", "")
    assert documents["HUB_X_API_KEY"].doc == "A key. Also read from OTHER_KEY, THIRD_KEY."
    assert describe(Strict, "HUB_X") == [SettingDoc("HUB_X_NAME", "text", "required", "")]
