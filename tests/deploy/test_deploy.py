"""What deploy/ names is there: settings, files, programs, ports; and each file is what its reader expects."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from cart_core.cli import app
from cart_core.settings import SETTINGS, unknown
from tests.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "cart-workbench"}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KNOWN = {each.variable for each in SETTINGS}
OTHERS = {"DAGSTER_HOME", "HOME", "PYTHONUNBUFFERED", "PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
"""Variables that other programs read: Dagster, Python, PostgreSQL's and the object store's clients."""

ASSIGNED = re.compile(r"^#?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
USED = re.compile(r"\$\{([A-Z0-9_]+)")
PROGRAM = "/opt/cart/.venv/bin/"


def unit(path: Path) -> configparser.RawConfigParser:
    """A unit file as sections of settings."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text("utf-8"))
    return parser


def commands(service: dict[str, Any]) -> list[str]:
    """What a service runs."""
    return [*service.get("entrypoint", ["cart"]), *service.get("command", [])]


@pytest.mark.parametrize("name", OURS)
def test_a_service_sets_what_the_code_reads(name: str):
    """Every variable of a service of ours is a setting, or another program's."""
    assert set(OURS[name]["environment"]) - KNOWN - OTHERS == set()


@pytest.mark.parametrize("path", [DEPLOY / "systemd" / "cart.env.example", DEPLOY / "Dockerfile"], ids=lambda p: p.name)
def test_a_file_sets_what_the_code_reads(path: Path):
    """Every variable that is set for units and images is a setting, or another program's."""
    text = path.read_text("utf-8").replace("ENV ", "").replace("    ", "")
    found = set(ASSIGNED.findall(text))
    assert found - KNOWN - OTHERS == set()
    assert "CART_STORE" in found


def test_a_mistyped_variable_would_be_found():
    """The check above can fail: a name that looks like a setting is none."""
    assert unknown({"CART_STROE": "x", "CART_STORE": "y"}) == ["CART_STROE"]


def test_the_example_names_what_compose_asks_for():
    """deploy/.env.example lists exactly the variables of compose.yaml."""
    asked = set(USED.findall((DEPLOY / "compose.yaml").read_text("utf-8")))
    assert asked == set(ASSIGNED.findall((DEPLOY / ".env.example").read_text("utf-8")))


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_program_that_is_there(name: str):
    """The program is one of this package's or of its requirements', and the command one of ``cart``."""
    program, *arguments = commands(OURS[name])
    assert_runs(program, arguments)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_a_program_that_is_there(path: Path):
    """The program is one of this package's or of its requirements', and the command one of ``cart``."""
    started = unit(path)["Service"]["ExecStart"]
    assert started.startswith(PROGRAM)
    program, *arguments = started.removeprefix(PROGRAM).split()
    assert_runs(program, arguments)


def assert_runs(program: str, arguments: list[str]) -> None:
    """A program is an entry point; of ``cart`` the command and its options are checked, too."""
    assert program in entry_points(group="console_scripts").names
    if program == "cart":
        root = get_command(app)
        command = root.commands[arguments[0]]
        command.make_context(arguments[0], arguments[1:], resilient_parsing=True)
        options = {name for each in command.params for name in each.opts}
        assert {each for each in arguments if each.startswith("--")} <= options


def test_nothing_is_open_to_the_network():
    """Every port of compose is bound to loopback, and every unit listens there."""
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports != []
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    listening = [path.read_text("utf-8") for path in UNITS if " --host " in path.read_text("utf-8")]
    assert len(listening) == 2
    assert [text for text in listening if "--host 127.0.0.1 " not in text] == []


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_complete(name: str):
    """It has an image, comes up again, and uses volumes that are declared."""
    service = COMPOSE["services"][name]
    assert service["restart"] == "unless-stopped"
    assert {volume.split(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"])
    assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])


def test_the_image_is_made_of_files_that_are_there():
    """Every file that the Dockerfile copies is in the repository, and the image runs as a user of its own."""
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert copied != []
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []
    assert "USER cart" in lines
    assert lines.index("USER cart") < next(number for number, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def test_the_image_installs_versions_that_are_tested():
    """Each requirement of the image is pinned to the version that the tests run with."""
    pinned = {
        name: pins((REPOSITORY / "requirements" / f"{name}.txt").read_text("utf-8")) for name in ("deploy", "dev")
    }
    assert pinned["deploy"].items() <= pinned["dev"].items()
    assert {"fastapi", "dagster-webserver", "streamlit", "psycopg"} <= set(pinned["deploy"])


def pins(requirements: str) -> dict[str, str]:
    """The pinned version of each requirement; of one that is pinned per platform, the first."""
    return dict(reversed(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)", requirements, re.MULTILINE)))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_confined(path: Path):
    """A service runs as its own user, may write to its own folder alone, and gains no rights."""
    service = unit(path)["Service"]
    assert service["User"] == "cart"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["StateDirectory"] == "cart"


def test_systemd_takes_the_units(tmp_path: Path):
    """The check that systemd brings finds nothing wrong once the programs stand where the units look for them."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not here to check its units")
    units = []
    for path in (DEPLOY / "systemd").glob("cart-*.*"):
        text = re.sub(rf"ExecStart={PROGRAM}[\w-]+", "ExecStart=/bin/true", path.read_text("utf-8"))
        units.append(tmp_path / path.name)
        units[-1].write_text(text, "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )
    told = [line for line in done.stderr.splitlines() if "cart-" in line]
    assert (done.returncode, told) == (0, [])
