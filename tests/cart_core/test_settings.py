"""Settings: where each value comes from, what is wrong with it, and what nobody may see of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cart_core import settings
from cart_core.errors import Refused
from cart_core.settings import Known
from tests.conftest import REPOSITORY


def known(folder: Path, environment: dict[str, str] | None = None, **given: str) -> dict[str, Known]:
    """The settings for a store's folder, an environment and options."""
    return settings.known(folder, environment or {}, given)


def test_what_nobody_sets_has_its_default(tmp_path: Path):
    """Each with the type that the program works with."""
    found = known(tmp_path)
    assert {each.source for each in found.values()} == {"default"}
    assert found["store"].value == Path("data/store")
    assert found["segment_cache"].value == 20 * 2**30
    assert found["catalog"].value is None


def test_each_value_says_where_it_came_from(tmp_path: Path):
    """An option wins over the environment, and a place may be named there or in the file."""
    (tmp_path / "store.toml").write_text('catalog = "postgresql://file/db"\n')
    found = known(tmp_path, {"CART_SEGMENTS": "s3://env/p", "CART_STORE": "env"}, store="option")
    assert (found["catalog"].value, found["catalog"].source) == ("postgresql://file/db", "settings file")
    assert (found["segments"].value, found["segments"].source) == ("s3://env/p", "environment")
    assert (found["store"].value, found["store"].source) == (Path("option"), "option")


@pytest.mark.parametrize(
    ("line", "variable", "value"),
    [
        ('segments = "s3://file/p"', "CART_SEGMENTS", "s3://env/p"),
        ('segments = "files"', "CART_SEGMENTS", "/elsewhere"),
        ('catalog = "postgresql://me:hush@file/db"', "CART_CATALOG", "postgresql://me:hush@env/db"),
    ],
)
def test_a_variable_that_contradicts_the_file_is_refused(tmp_path: Path, line: str, variable: str, value: str):
    """As when the store is opened, and without a password; one that says the same is welcome."""
    (tmp_path / "store.toml").write_text(line + "\n")
    with pytest.raises(Refused, match=r"store\.toml says") as told:
        known(tmp_path, {variable: value})
    assert "hush" not in str(told.value)
    same = settings.read_file(tmp_path)
    assert known(tmp_path, {f"CART_{name.upper()}": text for name, text in same.items()})


def test_a_folder_for_segments_lies_beside_the_file_that_names_it(tmp_path: Path):
    """Wherever the command is given."""
    (tmp_path / "store.toml").write_text('segments = "files"\n')
    assert known(tmp_path)["segments"].value == str(tmp_path / "files")


def test_an_empty_variable_is_not_set(tmp_path: Path):
    """As a service manager leaves it that knows no value."""
    assert known(tmp_path, {"CART_CATALOG": ""})["catalog"].source == "default"
    assert settings.parts({"CART_CATALOG": "", "CART_SEGMENTS": "s3://b/p"}) == {
        "catalog": None,
        "segments": "s3://b/p",
    }


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [("CART_LOG", "xml", "text or json"), ("CART_SEGMENT_CACHE", "much", "20GiB")],
)
def test_a_wrong_value_is_refused(variable: str, value: str, rule: str, tmp_path: Path):
    """By its name, its value, where it came from, and the rule."""
    with pytest.raises(Refused, match=rf"{variable} \(environment\) is '{value}', but must be .*{rule}"):
        known(tmp_path, {variable: value})


@pytest.mark.parametrize(
    ("text", "rule"),
    [("catalog = 5\n", "as text only"), ('colour = "red"\n', "catalog, segments"), ("catalog\n", "cannot be read")],
)
def test_a_wrong_settings_file_is_refused(text: str, rule: str, tmp_path: Path):
    """With the file's place."""
    (tmp_path / "store.toml").write_text(text)
    with pytest.raises(Refused, match=f"store.toml.*{rule}"):
        known(tmp_path)


SECRETS = {
    "CART_CATALOG": "postgresql://me:geheim@host:5432/db?password=geheim&sslmode=require",
    "CART_SEGMENTS": "s3://key:geheim@bucket/p",
    "CART_JWT_SECRET": "geheim",
    "CART_JWT_JWKS": "https://me:geheim@host/keys",
    "CART_TOKEN": "geheim",
    "CART_ALERT_URL": "https://hooks/geheim",
}


def test_secrets_are_never_shown(tmp_path: Path):
    """Neither as a value nor in what is wrong with it; the rest of an address stays readable."""
    found = known(tmp_path, SECRETS)
    assert "geheim" not in str([each.shown for each in found.values()])
    assert found["catalog"].value == SECRETS["CART_CATALOG"]
    assert found["catalog"].shown == "postgresql://me:***@host:5432/db?password=***&sslmode=require"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg"),
        ("s3://bucket/prefix?endpoint=http://h:9000", "s3://bucket/prefix?endpoint=http://h:9000"),
        ("data/segments", "data/segments"),
    ],
)
def test_an_address_without_a_password_is_shown_as_it_is(url: str, shown: str):
    """Nothing is hidden that people need to see."""
    assert settings.without_password(url) == shown


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("1024", 1024), ("3KiB", 3072), ("5 MiB", 5 * 2**20), ("1TiB", 2**40)]
)
def test_sizes_have_units(text: str, expected: int):
    """Of two to the tenth."""
    assert settings.size_bytes(text) == expected


def test_mistyped_variables_are_found():
    """Whatever begins like a setting and is none."""
    assert settings.unknown({"CART_STOER": "x", "CART_STORE": "y", "PATH": "z"}) == ["CART_STOER"]


def test_names_and_variables_are_unique():
    """One name, one setting."""
    for name in ("name", "variable"):
        values = [getattr(each, name) for each in settings.SETTINGS]
        assert len(values) == len(set(values))


def test_every_variable_that_the_code_names_is_a_setting():
    """So that ``cart config`` leaves none out."""
    named = set()
    for package in ("cart_core", "pipelines"):
        for path in (REPOSITORY / package).rglob("*.py"):
            named.update(re.findall(r"""["'](CART_[A-Z_]+)["']""", path.read_text("utf-8")))
    assert named - {each.variable for each in settings.SETTINGS} - set(settings.INTERNAL) == set()


def test_the_page_of_settings_is_that_of_the_code():
    """docs/settings.md holds the table as the code gives it."""
    assert settings.table() in (REPOSITORY / "docs" / "settings.md").read_text("utf-8")
