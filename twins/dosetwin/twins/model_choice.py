"""Which population model is meant: a therapy's, by its id, or one of the user's own, by file and name."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from dosetwin.twins.data.subject import Dataset, RecordError
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.therapies import population_models
from dosetwin.twins.therapy import CovariateNeed


@dataclass(frozen=True)
class ChosenModel:
    """A model, the id by which it was asked for, its source code, and what is known of its covariates."""

    id: str
    model: PopulationModel
    code: str
    needs: Mapping[str, CovariateNeed]

    def complete(self, dataset: Dataset) -> Dataset:
        """The data with the therapy's defaults for covariates that the table lacks, each one noted.

        A default is not taken where a column looks like that covariate under another name.

        Raises RecordError where covariates are missing that have no default, naming all of them. A value
        outside the range that the therapy knows is only noted.
        """
        given = set(dataset.covariates)
        lacking = [name for name in used_covariates(self.model) if name not in given]
        defaults = {
            name: self.needs[name].default
            for name in lacking
            if name in self.needs and self.needs[name].default is not None and not _likely(name, given)
        }
        missing = [name for name in lacking if name not in defaults]
        if missing:
            raise RecordError(
                f"{dataset.source or 'the data'}: found covariates {', '.join(sorted(given)) or 'none'}; "
                f"{self.id} also needs {', '.join(self._described(name) for name in missing)}",
                remedy=_renaming(missing, given),
            )
        notes = [*dataset.notes]
        notes += [f"no column {name}: taken as {value:g} for everybody" for name, value in defaults.items()]
        subjects = dataset.subjects
        if defaults:
            subjects = tuple(
                replace(
                    s,
                    covariates=MappingProxyType(
                        {**s.covariates, **{n: np.full(len(s), float(v or 0)) for n, v in defaults.items()}}
                    ),
                )
                for s in subjects
            )
        completed = replace(dataset, subjects=subjects, notes=())
        notes += self._outside(completed)
        return replace(completed, notes=tuple(notes))

    def _described(self, name: str) -> str:
        need = self.needs.get(name)
        return f"{name} ({need.unit})" if need and need.unit != "1" else name

    def _outside(self, dataset: Dataset) -> list[str]:
        notes = []
        for name in used_covariates(self.model):
            need = self.needs.get(name)
            if need is None:
                continue
            wrong = [
                s.id
                for s in dataset
                if name in s.covariates
                and ((s.covariates[name] < need.low) | (s.covariates[name] > need.high)).any()
            ]
            if wrong:
                notes.append(
                    f"{name} outside {need.low:g} to {need.high:g} {need.unit} in {len(wrong)} subjects "
                    f"({', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}): check its unit"
                )
        return notes


def chosen_model(text: str) -> ChosenModel:
    """The model that `text` means: `vancomycin`, `phenobarbital/voller-2017`, or `path/to/file.py:NAME`.

    NAME may be left out where the file defines one model. The file is executed. Raises ModelError, naming the
    models there are, where there is no such one.
    """
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".py"):
        return _of_file(Path(path), name)
    if text.endswith(".py"):
        return _of_file(Path(text), "")
    known = population_models()
    if text not in known:
        near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
        raise ModelError(
            f"no model {text!r}; there are {', '.join(sorted(known))}",
            remedy=(f"did you mean {near[0]}? " if near else "")
            + "A model of your own is path/to/file.py:NAME",
        )
    module, attribute = known[text]
    therapy = getattr(module, "therapy", None)
    needs = {need.name: need for need in therapy.covariates} if therapy else {}
    return ChosenModel(text, getattr(module, attribute), _code(Path(str(module.__file__)), attribute), needs)


def used_covariates(model: PopulationModel) -> tuple[str, ...]:
    """The covariates that the model's functions ask for, found by calling each with ones."""
    asked: dict[str, None] = {}
    c = _Asked(asked)
    p = SimpleNamespace(**{q.name: jnp.asarray(q.typical) for q in model.parameters})
    with double_precision():
        for parameter in model.parameters:
            if parameter.covariates is None:
                continue
            try:
                _ = parameter.covariates(c, p) if parameter.dependent else parameter.covariates(c)
            except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError, ModelError):
                # ones may be impossible values; the model itself will say so with the true ones
                continue
    return tuple(asked)


class _Asked:
    """Any name is a covariate of value 1; which were asked for is kept."""

    def __init__(self, asked: dict[str, None]) -> None:
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._asked[name] = None
        return np.ones(1)


def _of_file(path: Path, name: str) -> ChosenModel:
    if not path.is_file():
        raise ModelError(f"no file {path}", remedy="give the path of a Python file: path/to/file.py:NAME")
    module = _executed(path)
    models = {key: value for key, value in vars(module).items() if isinstance(value, PopulationModel)}
    if not name and len(models) == 1:
        name = next(iter(models))
    if name not in models:
        found = getattr(module, name, None) if name else None
        what = (
            f"{name} is a {type(found).__name__}" if found is not None else f"no model {name!r}".rstrip(" '")
        )
        raise ModelError(
            f"{path}: {what}; the population models there are {', '.join(models) or 'none'}",
            remedy=f"name one: {path}:{next(iter(models), 'NAME')}",
        )
    return ChosenModel(f"{path}:{name}", models[name], _code(path, name), {})


def _executed(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"dosetwin_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except ModelError:
        raise
    except Exception as error:
        line = _line(error, path)
        raise ModelError(
            f"{path}{f', line {line}' if line else ''}: {type(error).__name__}: {error}",
            remedy="the file must run by itself: try it with python",
        ) from error
    finally:
        sys.path.pop(0)
    return module


def _line(error: BaseException, path: Path) -> int:
    """The line of the file in which it failed; 0 where unknown."""
    if isinstance(error, SyntaxError):
        return error.lineno or 0
    trace, line = error.__traceback__, 0
    while trace:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _code(path: Path, name: str) -> str:
    """The statement of the file that gives `name` its value; through a plain alias, of what it stands for."""
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            if isinstance(value, ast.Name):
                return _code(path, value.id)
            return ast.get_source_segment(text, node) or ""
    return ""


def _likely(name: str, given: set[str]) -> str:
    """The column that may hold a covariate under another name; empty where none looks so."""
    by_upper = {column.upper(): column for column in given}
    short = {"WEIGHT": "WT", "HEIGHT": "HT", "CREATININE": "SCR", "APGAR": "APGR"}
    likely = [short.get(name.upper(), ""), *difflib.get_close_matches(name.upper(), by_upper, n=1)]
    return next((by_upper[key] for key in likely if key in by_upper), "")


def _renaming(missing: list[str], given: set[str]) -> str:
    """Which columns might be meant."""
    pairs = [f"{column}={name}" for name in missing if (column := _likely(name, given))]
    if pairs:
        return f"rename the columns that hold them: --columns {','.join(pairs)} (in Python columns={{...}})"
    return "add the columns, or rename those that hold them: --columns THEIRS=OURS (in Python columns={...})"
