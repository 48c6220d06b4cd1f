"""The package as users get it: wheel and sdist are whole, and work where the source tree is not."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

PACKAGES = ("cart_core", "pipelines")
TIMEOUT_S = 280


def run(command: list[object], folder: Path, **variables: str) -> str:
    """The output of a program that is given nothing of this process's Python path, store or settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CART_", "DAGSTER_", "PYTHON"))}
    done = subprocess.run(
        [str(each) for each in command],
        cwd=folder,
        env=own | {"HOME": str(folder)} | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, out: Path, kind: str) -> Path:
    """Build a wheel or sdist without a network."""
    run([sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", out], source)
    (built,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source tree."""
    return build(REPOSITORY, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel installed; its requirements are those of this one."""
    home = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", home], home)
    programs = home / "bin"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", programs / "python"]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], home)
    # A plain line in a .pth file adds a folder without its own .pth files, so the editable source tree stays out.
    site = Path(run([programs / "python", "-c", "import site; print(site.getsitepackages()[0])"], home).strip())
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return programs


def contents(wheel: Path) -> set[str]:
    """The files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_a_wheel_holds_every_file_of_the_packages(wheel: Path):
    """Code, type marks, styles, declarations and programs that travel with packs."""
    there = {
        path.relative_to(REPOSITORY).as_posix()
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".pyc", ".nbi", ".nbc"}
    }
    assert there - contents(wheel) == set()
    assert {"cart_core/py.typed", "pipelines/py.typed", "cart_core/ledger/check_proof.py"} <= contents(wheel)


def test_a_wheel_holds_nothing_else(wheel: Path):
    """No test, no benchmark, no data of ours lands among a user's packages."""
    roots = {name.partition("/")[0] for name in contents(wheel)}
    assert {root for root in roots if not root.endswith(".dist-info")} == set(PACKAGES)


def test_a_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path):
    """Who builds from source gets the same files."""
    packed = build(REPOSITORY, tmp_path / "sdist", "sdist")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("cart_workbench-*")
    assert contents(build(source, tmp_path / "again", "wheel")) == contents(wheel)
    for name in ("docs/index.md", "deploy/compose.yaml", "notebooks/02_abandonment_and_recovery.ipynb", "CHANGELOG.md"):
        assert (source / name).is_file()


def test_an_installed_package_is_imported_from_where_it_was_installed(programs: Path, tmp_path: Path):
    """Nothing of the source tree is used."""
    code = "import cart_core, pipelines.definitions as p; print(cart_core.__file__); print(p.__file__)"
    for place in run([programs / "python", "-c", code], tmp_path).splitlines():
        assert Path(place).is_relative_to(programs.parent)


def test_an_installed_cart_proves_a_price(programs: Path, tmp_path: Path):
    """From a simulated shop to an evidence pack whose own program checks it."""
    cart = [programs / "cart", "--store", "shop"]
    assert "simulate" in run([programs / "cart", "--help"], tmp_path)
    run([programs / "cart", "simulate", "--carts", "60", "--days", "3", "--seed", "1", "--out", "clicks"], tmp_path)
    run([*cart, "import", "parquet", "clicks/events.parquet"], tmp_path)
    query = "SELECT min(order_id) FROM carts"
    order = run([*cart, "sql", query], tmp_path).splitlines()[-1].strip()
    run([*cart, "evidence", "--order", order, "--out", "pack"], tmp_path)
    assert "pack holds" in run([programs / "cart", "check-evidence", "pack"], tmp_path)
    assert "holds" in run([programs / "python", "pack/check_proof.py", "-", "pack/proofs/000001.json"], tmp_path)


def test_an_installed_demo_derives_every_table(programs: Path, tmp_path: Path):
    """The main job runs from the wheel alone, report and checks included."""
    told = run([programs / "cart", "demo", "--dir", "demo", "--carts", "200"], tmp_path)
    assert "checks hold" in told
    assert (tmp_path / "demo" / "store" / "derived" / "report.html").stat().st_size > 10_000
