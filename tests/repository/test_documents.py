"""What the documents say exists: commands, files, links, settings; and nothing refers outside."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from dosetwin.platform.settings import Settings

ROOT = Path(__file__).parents[2]
DOSETWIN = Path(sys.executable).parent / "dosetwin"

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"\bdosetwin ([a-z][a-z-]+)\b")
HOSTS = tuple(
    ".".join(parts)  # in parts, so that this file does not find itself
    for parts in (
        *(("pypi", "org"), ("files", "pythonhosted", "org"), ("test", "pypi", "org")),
        *(("repo1", "maven", "org"), ("repo", "maven", "apache", "org")),
        *(("registry", "npmjs", "org"), ("registry", "yarnpkg", "com"), ("conda", "anaconda", "org")),
        *(("crates", "io"), ("proxy", "golang", "org"), ("ghcr", "io"), ("docker", "io")),
    )
)
OUTSIDE = re.compile(r"(?<![\w./$}~-])/(?:home|root|work|Users|mnt|tmp|workspace)/[\w.-]+")


@cache
def tracked() -> tuple[Path, ...]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file())


@cache
def text_files() -> tuple[tuple[Path, str], ...]:
    found = []
    for path in tracked():
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return tuple(found)


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(text: str) -> str:
    """The fenced, indented and inline code of a document."""
    fenced = "\n".join(body for _, body in FENCE.findall(text))
    rest = FENCE.sub("", text)
    indented = "\n".join(line for line in rest.splitlines() if line.startswith("    "))
    return "\n".join((fenced, indented, *INLINE.findall(rest)))


def commands_named() -> dict[str, str]:
    """Every `dosetwin X` in code of a document, with the first document that names it."""
    named: dict[str, str] = {}
    for path in documents():
        for command in COMMAND.findall(code(path.read_text())):
            named.setdefault(command, relative(path))
    return named


@pytest.mark.parametrize("document", documents(), ids=relative)
def test_every_link_resolves(document: Path) -> None:
    text = FENCE.sub("", document.read_text())
    for target in LINK.findall(text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.is_relative_to(ROOT), f"{target} leaves the repository"
        assert path.exists(), f"{target} does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{target}: headings are {sorted(slugs)}"


def test_the_readme_names_its_two_commands_and_they_are_targets() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in readme
    for document in documents():
        for target in re.findall(r"\bmake ([a-z][a-z-]+)", code(document.read_text())):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{relative(document)}: make {target}"


@cache
def help_page(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOSETWIN, command, "--help"],
        env=os.environ | {"COLUMNS": "300", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", sorted(commands_named()))
def test_every_command_named_in_a_document_has_a_help_page(command: str) -> None:
    result = help_page(command)
    assert result.returncode == 0, f"named in {commands_named()[command]}: {result.stderr}"
    assert "Usage" in result.stdout


def test_options_in_documents_exist() -> None:
    """Each `--option` on a line that calls dosetwin is in that command's help."""
    wrong = [
        f"{relative(path)}: dosetwin {command} {option}"
        for path in documents()
        for line in code(path.read_text()).splitlines()
        for command, rest in re.findall(r"\bdosetwin ([a-z][a-z-]+)((?: +[^\s|&;)#]+)*)", line)
        for option in re.findall(r"(--[a-z][a-z-]*)", rest)
        if option not in help_page(command).stdout
    ]
    assert not wrong


def test_python_blocks_in_documents_compile() -> None:
    blocks = [
        (path, body)
        for path in documents()
        for language, body in FENCE.findall(path.read_text())
        if language == "python"
    ]
    for path, body in blocks:
        compile(body, relative(path), "exec")


def test_paths_in_code_of_documents_exist() -> None:
    """A path that a document names in code is there, from the root or from a room's `dosetwin` folder."""
    folders = "platform|twins|stream_jobs|ml|dashboards|infra|tests|docs"
    wrong = [
        f"{relative(path)}: {inline}"
        for path in documents()
        for inline in INLINE.findall(FENCE.sub("", path.read_text()))
        if re.fullmatch(rf"(?:{folders})/[\w./-]+", inline)
        and not (ROOT / inline).exists()
        and not (ROOT / inline.split("/")[0] / "dosetwin" / inline).exists()
    ]
    assert not wrong


def test_the_example_settings_load_and_are_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    example = ROOT / "dosetwin.example.toml"
    for name in [name for name in os.environ if name.startswith("DOSETWIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    defaults = Settings()
    monkeypatch.setenv("DOSETWIN_SETTINGS", str(example))
    assert Settings() == defaults
    written = tomllib.loads(example.read_text())
    for name, value in defaults.model_dump(mode="json").items():
        if isinstance(value, dict):
            assert set(written[name]) == set(value), f"[{name}] of {example.name}"
        else:
            assert name in written


def test_no_registry_host_outside_the_lock_file() -> None:
    wrong = [
        f"{relative(path)}: {host}"
        for path, text in text_files()
        if path.name != "uv.lock"
        for host in HOSTS
        if host in text
    ]
    assert not wrong


def test_nothing_refers_outside_the_repository() -> None:
    wrong = [
        f"{relative(path)}: {found}"
        for path, text in text_files()
        if path.name != "uv.lock"
        for found in OUTSIDE.findall(text)
    ]
    assert not wrong


def test_no_secret_is_kept_here() -> None:
    assert not [path for path in tracked() if path.suffix in {".pem", ".hex", ".key", ".sqlite"}]
    marker = "PRIVATE" + " KEY-----"
    assert not [relative(path) for path, text in text_files() if marker in text]


def test_the_licence_is_the_standard_text() -> None:
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
