"""A page for each public package: the names of its `__all__`, their signatures and docstrings.

Docstrings keep their form (Google's sections, reStructuredText's roles) in the code; here they become Markdown.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from typing import Any

PACKAGES = (
    "metrichmsr",
    "metrichmsr.recover",
    "metrichmsr.calibration",
    "metrichmsr.people",
    "metrichmsr.bodies",
    "metrichmsr.images",
    "metrichmsr.export",
    "metrichmsr.rendering",
    "metrichmsr.geometry",
    "metrichmsr.datasets",
)

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?([^`]+)`")
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Convention|Source|Example|Examples|Note|Attributes):\s*(.*)$")
_ITEM = re.compile(r"^(\*{0,2}[\w., ]+(?: \([^)]*\))?): (.*)$")


def package_page(package: str) -> str:
    """The page of a package or module with an `__all__`."""
    module = importlib.import_module(package)
    parts = [f"# {package}", markdown(module.__doc__)]
    for name in sorted(module.__all__, key=lambda name: (name.lower(), name)):
        if name.startswith("__"):
            continue
        parts += entry(name, getattr(module, name), package)
    return "\n\n".join(part for part in parts if part) + "\n"


def entry(name: str, thing: Any, package: str) -> list[str]:
    """Heading, signature and docstring of one public name."""
    home = getattr(thing, "__module__", package)
    elsewhere = f"`from {package} import {name}`"
    if inspect.isclass(thing):
        parts = [f"## {name}", elsewhere]
        if not dataclasses.is_dataclass(thing) and "__init__" in vars(thing):
            parts.append(_fence(_signature(name, thing)))
        return [*parts, markdown(thing.__doc__), *_fields(thing), *_methods(thing)]
    if callable(thing) and not hasattr(thing, "__args__"):
        return [f"## {name}", elsewhere, _fence(_signature(name, thing)), markdown(thing.__doc__)]
    text = repr(thing) if not hasattr(thing, "__args__") else str(thing)
    shown = text if len(text) < 400 else f"{text[:400]} …"
    return [
        f"## {name}",
        elsewhere,
        _fence(f"{name} = {_wrapped(shown)}"),
        markdown(_comment_below(home, name, package)),
    ]


def markdown(docstring: str | None) -> str:
    """A docstring as Markdown."""
    if not docstring:
        return ""
    lines = inspect.cleandoc(docstring).splitlines()
    made: list[str] = []
    in_section = in_code = False
    for line in lines:
        line = _ROLE.sub(lambda found: f"`{found[1].rsplit('.', 1)[-1]}`", line).replace("``", "`")
        section = _SECTION.match(line)
        if section:
            made += ["", f"**{section[1]}**" + (f": {section[2]}" if section[2] else ""), ""]
            in_section = True
        elif in_section and line.startswith("    "):
            item, text = _ITEM.match(line[4:]), line.strip()
            if item and not line[4:].startswith(" "):
                made.append(f"- `{item[1]}`: {item[2]}")
            else:
                made.append(f"  {text}" if made and made[-1].startswith(("- ", "  ")) else text)
        else:
            indented = line.startswith("    ")
            if indented != in_code and (line or not in_code):
                made += ["", "```python"] if indented else ["```", ""]
                in_code = indented
            in_section = in_section and not line.strip()
            made.append(line[4:] if in_code else line)
    return "\n".join([*made, "```"] if in_code else made).strip()


def _fields(cls: type) -> list[str]:
    """Fields of a dataclass with the docstrings below them."""
    if not dataclasses.is_dataclass(cls):
        return []
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError):
        return []
    lines = []
    assert isinstance(tree, ast.ClassDef)
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_"):
            text = _text_of(after)
            kind = ast.unparse(node.annotation)
            lines.append(f"- `{node.target.id}`: `{kind}`" + (f"  \n    {' '.join(text.split())}" if text else ""))
    return (
        ["**Fields**", _ROLE.sub(lambda found: f"`{found[1]}`", "\n".join(lines)).replace("``", "`")] if lines else []
    )


def _methods(cls: type) -> list[str]:
    parts: list[str] = []
    for name, thing in vars(cls).items():
        if isinstance(thing, property) and thing.__doc__ and not name.startswith("_"):
            parts += [f"### `{cls.__name__}.{name}`", "(property)", markdown(thing.__doc__)]
            continue
        function = thing.__func__ if isinstance(thing, (staticmethod, classmethod)) else thing
        if not inspect.isfunction(function) or not function.__doc__:
            continue
        if name.startswith("_") and name != "__call__":
            continue
        shown = f"{cls.__name__}.{name}"
        parts += [f"### `{shown}`", _fence(_signature(shown, function)), markdown(function.__doc__)]
    return parts


def _signature(name: str, thing: Any) -> str:
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return name
    text = re.sub(r"<factory>|<object object at [^>]*>", "…", text).replace("self, ", "").replace("(self)", "()")
    # Types that were postponed come as quoted text, with either kind of quotes.
    text = re.sub(r"""(: |-> )("|')(.*?)\2""", r"\1\3", text)
    line = name + text
    if len(line) <= 100:
        return line
    tree = ast.parse(f"def f{text}: ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    arguments = _arguments(tree.args)
    returns = f" -> {ast.unparse(tree.returns)}" if tree.returns is not None else ""
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){returns}"


def _arguments(arguments: ast.arguments) -> list[str]:
    def with_default(argument: ast.arg, default: ast.expr | None) -> str:
        return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else "")

    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    made = [with_default(*pair) for pair in zip(plain, defaults, strict=True)]
    if arguments.vararg is not None:
        made.append(f"*{ast.unparse(arguments.vararg)}")
    elif arguments.kwonlyargs:
        made.append("*")
    made += [with_default(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [*made, f"**{ast.unparse(arguments.kwarg)}"] if arguments.kwarg is not None else made


def _comment_below(home: str, name: str, package: str) -> str | None:
    """The string below an assignment, in the module that makes it."""
    package_module = importlib.import_module(package)
    homes = [getattr(package_module, "_HOMES", {}), getattr(package_module, "_HOME", {})]
    candidates = [homes[0].get(name), homes[1].get(name), home]
    tree = ast.parse(inspect.getsource(package_module))
    candidates += [
        node.module for node in tree.body if isinstance(node, ast.ImportFrom) and name in {a.name for a in node.names}
    ]
    for candidate in filter(None, candidates):
        full = candidate if candidate.startswith("metrichmsr") else f"{package}.{candidate}"
        try:
            body = ast.parse(inspect.getsource(importlib.import_module(full))).body
        except (ImportError, OSError, TypeError):
            continue
        for node, after in zip(body, [*body[1:], None], strict=True):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return _text_of(after)
    return None


def _text_of(node: ast.stmt | None) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def _wrapped(text: str) -> str:
    return "\n    ".join(textwrap.wrap(text, 96, break_long_words=False))


def _fence(code: str) -> str:
    return f"```python\n{code}\n```"
