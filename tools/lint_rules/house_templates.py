"""House rules of templates that become YAML, and of expressions in any file, as rules of ansible-lint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansiblelint.rules import AnsibleLintRule
from jinja2 import Environment, TemplateSyntaxError, nodes

if TYPE_CHECKING:
    from ansiblelint.errors import MatchError
    from ansiblelint.file_utils import Lintable

YAML_TEMPLATE = re.compile(r"\.ya?ml\.j2$")
WITH_EXPRESSIONS = re.compile(r"\.(?:ya?ml|j2)$")
WITHOUT_ORDER = re.compile(r"\|\s*(?:ansible\.builtin\.)?(difference|intersect|symmetric_difference|union)\b")
SECRET = re.compile(r"""^(?!\s*#).*?(?<![\w"'])["']?kind["']?:\s*["']?Secret["']?\s*(?:$|[#,}])""")
TO_JSON = {"to_json", "to_nice_json", "ansible.builtin.to_json", "ansible.builtin.to_nice_json"}
WHOLE = "write it as `{{ ... | to_json }}`, which quotes what needs it"


class TextRule(AnsibleLintRule):
    """What the rules of this file share: they look at the text of `files`, which are templates of YAML."""

    files = YAML_TEMPLATE
    version_changed = "0.1.0"
    severity = "VERY_HIGH"
    tags = ["security"]  # noqa: RUF012  (as in the base class)

    def matchlines(self, file: Lintable) -> list[MatchError]:
        """Report each problem on its line; a `# noqa: <rule>` on the line excuses it."""
        if not self.files.search(str(file.path)):
            return []
        lines = file.content.splitlines()
        return [
            self.create_matcherror(message, lineno=line, details=lines[line - 1].strip(), filename=file)
            for line, message in self.problems(file.content)
            if f"noqa: {self.id}" not in lines[line - 1]
        ]

    def problems(self, text: str) -> Iterator[tuple[int, str]]:
        """Line numbers from 1, each with what is wrong there."""
        raise NotImplementedError


class NoSecretTemplate(TextRule):
    """No template holds a manifest of kind Secret."""

    id = "house-no-secret-template"
    description = "Secrets are described in a component's spec and made by the engine, so that no diff or log has them."

    def problems(self, text: str) -> Iterator[tuple[int, str]]:
        """The lines that say `kind: Secret`."""
        for number, line in enumerate(text.splitlines(), start=1):
            if SECRET.match(line):
                yield number, "kind Secret: describe it under `secrets` of the component's spec"


class JsonValues(TextRule):
    """Every value that a YAML template takes in goes through to_json or a macro."""

    id = "house-json-values"
    description = "A value with a colon, a quote or a line break changes the meaning of YAML; as JSON it cannot."

    def problems(self, text: str) -> Iterator[tuple[int, str]]:
        """Expressions that are written as they are, and JSON that is only a part of a value."""
        environment = Environment(trim_blocks=True, extensions=["jinja2.ext.do"])  # noqa: S701  (parsed, never run)
        try:
            tree = environment.parse(text)
        except TemplateSyntaxError as error:
            yield error.lineno, f"not a template: {error.message}"
            return
        yield from sorted(set(Template(tree).problems()))


class Template:
    """A parsed template, and which of its names are safe to write as they are."""

    def __init__(self, tree: nodes.Template) -> None:
        self.tree = tree
        self.macros = {node.name for node in tree.find_all(nodes.Macro)}
        for imported in tree.find_all(nodes.FromImport):
            self.macros |= {name if isinstance(name, str) else name[1] for name in imported.names}
        self.modules = {node.target for node in tree.find_all(nodes.Import)}
        self.safe: set[str] = set()
        for loop in tree.find_all(nodes.For):
            if self.constant(loop.iter):
                targets = [loop.target] if isinstance(loop.target, nodes.Name) else loop.target.find_all(nodes.Name)
                self.safe |= {name.name for name in targets}
        for node in tree.find_all(nodes.Assign):
            if isinstance(node.target, nodes.Name) and self.is_json(node.node):
                self.safe.add(node.target.name)
        self.blocks = {
            node.target.name: node for node in tree.find_all(nodes.AssignBlock) if isinstance(node.target, nodes.Name)
        }

    def problems(self) -> Iterator[tuple[int, str]]:
        """What is written and is neither JSON nor checked where it was made."""
        outputs = [node for node in self.tree.find_all(nodes.Output) if node not in self.text_outputs()]
        for output in outputs:
            for before, expression, after in self.neighbours(output.nodes):
                if self.is_json(expression) and not isinstance(expression, nodes.Call):
                    partial = (before and before[-1] not in " \n[{,(") or (after and after[0] not in " \n]},)")
                    if partial and isinstance(expression, nodes.Filter):
                        yield expression.lineno, f"JSON in the middle of a value: {WHOLE}"
                elif not self.is_json(expression) and not self.is_block(expression):
                    yield expression.lineno, f"a value as it is: {WHOLE}"

    def text_outputs(self) -> set[nodes.Output]:
        """What stands in blocks that are not YAML: those of which every use goes through a filter."""
        plain = {node.name for output in self.tree.find_all(nodes.Output) for node in output.nodes
                 if isinstance(node, nodes.Name)}  # fmt: skip
        blocks = [block for name, block in self.blocks.items() if name not in plain]
        return {output for block in blocks for output in block.find_all(nodes.Output)}

    def is_block(self, node: nodes.Node) -> bool:
        """Whether this is a block of YAML, whose own values are looked at where it is set."""
        return isinstance(node, nodes.Name) and node.name in self.blocks

    def is_json(self, node: nodes.Node) -> bool:
        """Whether a value cannot change the meaning of the YAML around it."""
        if isinstance(node, nodes.Const):
            return True
        if isinstance(node, nodes.Name):
            return node.name in self.safe
        if isinstance(node, nodes.CondExpr):
            return self.is_json(node.expr1) and node.expr2 is not None and self.is_json(node.expr2)
        if isinstance(node, nodes.Call):
            called = node.node
            if isinstance(called, nodes.Getattr) and isinstance(called.node, nodes.Name):
                return called.node.name in self.modules
            return isinstance(called, nodes.Name) and called.name in self.macros
        if isinstance(node, nodes.Filter):
            laid_out = node.name in {"indent", "ansible.builtin.indent"} and node.node is not None
            return node.name in TO_JSON or (laid_out and self.is_json(node.node))  # type: ignore[arg-type]
        return False

    def constant(self, node: nodes.Node) -> bool:
        """Whether what is looped over stands in the template itself."""
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "items":
            node = node.node.node
        return isinstance(node, nodes.Literal) and all(
            isinstance(item, (nodes.Const, nodes.Pair, nodes.Literal)) for item in node.iter_child_nodes()
        ) and not list(node.find_all(nodes.Name))  # fmt: skip

    @staticmethod
    def neighbours(parts: list[Any]) -> Iterator[tuple[str, nodes.Node, str]]:
        """Each expression of an output with the text before and after it."""
        for index, part in enumerate(parts):
            if not isinstance(part, nodes.TemplateData):
                texts = [
                    parts[near].data if 0 <= near < len(parts) and isinstance(parts[near], nodes.TemplateData) else ""
                    for near in (index - 1, index + 1)
                ]
                yield texts[0], part, texts[1]


class OrderedLists(TextRule):
    """Lists come by filters that keep their order."""

    id = "house-ordered-lists"
    description = "Python orders sets anew in each process: what comes of one differs from run to run."
    tags = ["unpredictability"]  # noqa: RUF012  (as in the base class)
    files = WITH_EXPRESSIONS

    def problems(self, text: str) -> Iterator[tuple[int, str]]:
        """The lines with one of Ansible's filters for sets."""
        for number, line in enumerate(text.splitlines(), start=1):
            for found in WITHOUT_ORDER.finditer(line):
                yield number, f"{found[1]} gives a list in any order; select('in', ...) and reject('in', ...) keep it"
