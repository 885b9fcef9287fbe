"""The library's public names: each loads, the type checker sees the same ones, the page names them all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import dosetwin.twins as library

ROOT = Path(__file__).parents[3]


def test_every_public_name_loads_from_where_the_type_checker_sees_it() -> None:
    tree = ast.parse(Path(library.__file__).read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        name.name: node.module
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert set(seen) == set(library.__all__)
    for name, module in seen.items():
        assert f"dosetwin.twins.{library._HOME[name]}" == module
        assert getattr(library, name) is not None


def test_the_page_names_every_public_name() -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    missing = [name for name in library.__all__ if f"`{name}" not in page]
    assert not missing, f"docs/library.md does not mention {', '.join(missing)}"


def test_a_therapy_alone_does_not_load_the_whole_library() -> None:
    code = "import sys, dosetwin.twins.therapies.t1d_insulin; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
