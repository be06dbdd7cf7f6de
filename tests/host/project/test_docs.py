# SPDX-License-Identifier: MIT
"""The documentation builds without a warning, and the files, symbols, messages and commands that it names exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import click
import pytest

from shirq import ctl
from shirq_bench.campaigns.mutants import mutant
from shirq_bench.campaigns.zoo import case
from shirq_bench.cli.main import main
from shirq_bench.observe import splats
from shirq_bench.paths import KMOD, need_checkout
from tutorial import write as _write_tutorial

TOP = need_checkout("the documentation")
DOCS = TOP / "docs"
sys.path.insert(0, str(DOCS / "ext"))
commands = importlib.import_module("commands")
kernel_doc = importlib.import_module("kernel_doc")
repository = importlib.import_module("repository")

HEADER = (KMOD / "shirq.h").read_text()


def _documents() -> list[Path]:
    """Return the Markdown documents of the checkout, except inputs of a generator and built files."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=TOP, capture_output=True, text=True, check=True)
    return [TOP / name for name in listed.stdout.split() if not name.startswith("harness/shirq_bench/")]


def _sphinx(builder: str, target: Path) -> subprocess.CompletedProcess[str]:
    options = ["-W", "--keep-going", "-n", "-q", "-b", builder, "-d", str(target / "doctrees")]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, target / builder], capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the documentation as HTML and as manual pages; returns the directory of both."""
    target = tmp_path_factory.mktemp("docs")
    for builder in ("html", "man"):
        done = _sphinx(builder, target)
        assert done.returncode == 0, done.stderr
    return target


def test_docs_build_without_warnings(built: Path) -> None:
    assert (built / "html/index.html").exists()
    assert not [
        path
        for path in DOCS.rglob("*.md")
        if not (built / "html" / path.relative_to(DOCS)).with_suffix(".html").exists()
    ]


def test_docs_links_lead_to_pages_and_anchors(built: Path) -> None:
    """Each link between the pages leads to an existing file and to an existing anchor in it."""
    pages = {path: path.read_text() for path in (built / "html").rglob("*.html")}
    places = {path: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for path, text in pages.items()}
    dead = []
    for path, text in pages.items():
        for link in re.findall(r'<a [^>]*href="([^":?]+)"', text):
            name, _, anchor = link.partition("#")
            target = Path(os.path.normpath(path.parent / name)) if name else path
            if not target.exists() or (anchor and target in places and anchor not in places[target]):
                dead.append(f"{path.relative_to(built)}: {link}")
    assert not dead


def test_docs_show_source_with_the_line_of_a_symbol(built: Path) -> None:
    page = (built / "html/explanation/interrupt.html").read_text()
    (anchor,) = re.findall(r'href="\.\./source/kmod/source\.c\.html#(L-\d+)"[^>]*>shirq_claim', page)
    number = int(anchor.removeprefix("L-"))
    assert (KMOD / "source.c").read_text().splitlines()[number - 1].startswith("void shirq_claim(")
    assert f'id="{anchor}"' in (built / "html/source/kmod/source.c.html").read_text()


@pytest.mark.parametrize("program", ["shirq", "shirqctl"])
def test_docs_manual_page_has_every_command(built: Path, program: str) -> None:
    text = (built / f"man/{program}.1").read_text()
    names = main.list_commands(click.Context(main)) if program == "shirq" else _verbs()
    assert len(names) > 5
    headings = {line.replace("\\-", "-") for line in text.splitlines() if line.startswith(".SH ")}
    assert {f".SH {program.upper()} {name.upper()}" for name in names} <= {heading.upper() for heading in headings}


def _verbs() -> list[str]:
    text = ctl._parser().format_help().partition("verbs:")[2].partition("\n\n")[0]
    return re.findall(r"^    ([a-z]+) ", text, re.MULTILINE)


@pytest.mark.parametrize("path", _documents(), ids=lambda path: str(path.relative_to(TOP)))
def test_docs_links_of_a_document_lead_to_files_and_symbols(path: Path) -> None:
    """Links work when the Markdown files are read in the repository: the file exists and defines the symbol."""
    for target in repository.links(path.read_text()):
        name, _, fragment = target.partition("#")
        if re.match(r"[a-z]+:", target) or not name:
            continue
        file = (path.parent / name).resolve()
        assert file.exists(), f"{target}: no such file"
        if fragment and file.suffix != ".md":
            assert repository.definition(file.read_text(), fragment), f"{target}: {name} does not define {fragment}"


def test_docs_life_of_an_interrupt_names_every_hop() -> None:
    """The page follows an interrupt from the pin to the unmask, with a link to a symbol of each layer."""
    targets = list(repository.links((DOCS / "explanation/interrupt.md").read_text()))
    symbols = [target.partition("#")[2] for target in targets if "#" in target]
    assert len(symbols) == len(targets) >= 20
    order = ["shirq_pin_want", "shirq_probe_deliver", "shirq_interrupt", "shirq_run", "shirq_claim", "shirq_notify"]
    order += ["shirq_probe_eoi", "shirq_take_one", "Device.read", "shirq_begin_read", "shirq_enable"]
    assert sorted(order, key=symbols.index) == order


def test_docs_definition_of_a_symbol_is_no_use_of_it() -> None:
    text = "void f(int a);\n\tf(1);\nint g(void)\n{\n}\nvoid f(int a)\n"
    assert repository.definition(text, "f") == 6
    assert repository.definition(text, "h") is None
    assert repository.definition("class A:\n    def b(self): ...\nclass C:\n    def b(self): ...\n", "C.b") == 4


def test_docs_header_reference_is_complete() -> None:
    """The reference has every name of the header, describes every member, and describes nothing else."""
    reference = kernel_doc.reference(HEADER)
    names = set(re.findall(r"\b(?:SHIRQ|shirq)_\w+", HEADER))
    assert len(names) > 100
    assert names <= set(re.findall(r"\b(?:SHIRQ|shirq)_\w+", reference))
    _, parts = kernel_doc.parse(HEADER)
    items = {part.name: part for part in parts if isinstance(part, kernel_doc.Item)}
    declared = re.findall(r"^((?:struct|enum) shirq_\w+) \{\n(.*?)^\};", HEADER, re.MULTILINE | re.DOTALL)
    assert set(items) == {name for name, _ in declared}
    for name, body in declared:
        code = re.sub(r"/\*.*?\*/", "", body)
        member = r"^\t(SHIRQ_\w+)" if name.startswith("enum") else r"(\w+)(?:\[\w+\])?;"
        assert set(items[name].members) == set(re.findall(member, code, re.MULTILINE)), name


def test_docs_header_reference_keeps_every_sentence() -> None:
    """The reference contains every sentence of the header's comments."""
    licence, _, body = HEADER.partition("\n")
    assert "SPDX" in licence
    words = set(re.findall(r"[A-Za-z]{4,}", " ".join(re.findall(r"/\*\*?(.*?)\*/", body, re.DOTALL))))
    reference = kernel_doc.reference(HEADER)
    # The reference writes the first word of a summary with a capital letter.
    assert not {word for word in words if word not in reference and word[0].upper() + word[1:] not in reference}


@pytest.mark.parametrize(
    ("target", "program"), [("shirq_bench.cli.main:main", "shirq"), ("shirq.ctl:_parser", "shirqctl")]
)
def test_docs_command_reference_has_every_option(target: str, program: str) -> None:
    """The reference has every option and argument that any ``--help`` shows."""
    text = commands.reference(target, program)
    helps = _click_help(main, "shirq") if program == "shirq" else _argparse_help()
    options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]+", helps)) - {"--help"}
    assert len(options) >= 10
    assert options <= set(re.findall(r"--?[a-z][a-z-]+", text))


def _click_help(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    context = click.Context(command, info_name=name, parent=parent)
    children = command.commands if isinstance(command, click.Group) else {}
    return command.get_help(context) + "".join(_click_help(child, key, context) for key, child in children.items())


def _argparse_help() -> str:
    (verbs,) = [action.choices for action in ctl._parser()._actions if isinstance(action.choices, dict)]
    return "".join(child.format_help() for child in verbs.values())


def test_docs_troubleshooting_quotes_messages_that_exist() -> None:
    """The sources contain each message of the page, piece by piece: "..." stands for a variable part."""
    folders = [TOP / "harness/shirq_bench", TOP / "guest/shirq", KMOD]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and "data" not in path.parts]
    # Join adjacent string literals: a message may consist of several.
    sources = "\n".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text(errors="replace")) for path in files)
    messages = re.findall(r"^\| `(.*?)`", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(messages) >= 40
    for message in messages:
        for piece in message.split("..."):
            assert piece.strip() in sources, f"{message}: no source contains {piece!r}"


def test_docs_own_rules_for_splats_start_from_files_that_exist() -> None:
    (place,) = re.findall(r"start with copies of the files in `(.*?)/`", (TOP / "harness/README.md").read_text())
    assert TOP / "harness" / place == splats.RULES


def test_docs_glossary_is_sorted_and_explains_its_words_once() -> None:
    text = (DOCS / "glossary.md").read_text().partition("```{glossary}\n")[2].partition("```")[0]
    terms = re.findall(r"^(\w.*)$", text, re.MULTILINE)
    assert terms == sorted(terms, key=lambda term: term.replace(",", "").lower())
    assert len(terms) == len(set(terms))
    needed = "line GSI INTx DisINTx claim mask owner quiesce rung quarantine storm breaker clone template splat ledger"
    assert {*needed.split(), "sweep", "point", "probe"} <= set(terms)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_docs_python_is_python_and_its_imports_exist(path: Path) -> None:
    for code in re.findall(r"^( *)```python\n(.*?)^\1```$", path.read_text(), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(textwrap.dedent(code[1]))):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert not [alias.name for alias in node.names if not _has(module, alias.name)]


def _has(module: ModuleType, name: str) -> bool:
    return hasattr(module, name) or importlib.util.find_spec(f"{module.__name__}.{name}") is not None


def _blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for text in found]


def test_docs_example_of_a_zoo_case_is_one(tmp_path: Path) -> None:
    (text,) = _blocks("howto/zoo-case.md", "toml")
    (tmp_path / "posted-ack.toml").write_text(text)
    assert case.read_catalogued(tmp_path / "posted-ack.toml").id == "posted-ack"


def test_every_case_of_the_catalogue_is_found_by_a_symptom() -> None:
    """The index of symptoms names every case of the catalogue, and no other."""
    text = (DOCS / "howto/symptoms.md").read_text()
    assert [name for name in case.ids() if f"`{name}`" not in text] == []
    rows = re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)
    assert len(rows) > 30 and set(rows) <= set(case.ids())


def test_docs_example_of_a_case_of_ones_own_is_one(tmp_path: Path) -> None:
    text, device = _blocks("howto/own-driver.md", "toml")
    (tmp_path / "mine.toml").write_text(f"{text}\n{device}")
    read = case.read(tmp_path / "mine.toml")
    assert read.own.driver == "../driver" and not read.acknowledges_by_edu


def test_docs_example_of_a_mutants_head_is_one() -> None:
    (text,) = _blocks("howto/mutant.md", "toml")
    tests = mutant.parse("example", f"{text}\n--- a/kmod/source.c\n").tests
    assert tests
    for test in tests:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (TOP / path).read_text()


def test_docs_tutorial_is_a_project_that_pytest_collects(tmp_path: Path) -> None:
    """pytest collects the tutorial's tests, so its imports exist; `tests/guest/test_tutorial.py` runs them."""
    _write_tutorial(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 tests collected" in done.stdout
