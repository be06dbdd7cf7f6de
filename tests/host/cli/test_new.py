# SPDX-License-Identifier: MIT
"""`shirq new` makes a project whose case is right, and changes nothing where it cannot."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shirq.profile import folder, load
from shirq_bench import toml
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import own
from shirq_bench.cli import new
from shirq_bench.cli.main import main

CARDS = tomllib.loads((Path(new.__file__).parent / "starter/cards.toml").read_text())


def _new(directory: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["new", str(directory), *options])


def _files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_without_options_the_project_has_a_module_of_its_own(tmp_path: Path) -> None:
    done = _new(tmp_path / "My card")
    assert done.exit_code == 0, done.output
    project = tmp_path / "My card"
    assert _files(project) == [
        "README.md",
        "case.schema.json",
        "cases/busy-line.toml",
        "cases/driver-goes.toml",
        "cases/neighbours-storm.toml",
        "driver/Kbuild",
        "driver/my_card.c",
        "pyproject.toml",
        "test_driver.py",
    ]
    case = cases.read(project / "cases/driver-goes.toml")
    assert own.of_case(case, project / "cases").is_module
    assert {step.argument for step in case.steps if step.verb == "driver"} == {"bind", "start", "unbind"}
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] == "My-card-tests"
    compile((project / "test_driver.py").read_text(), "test_driver.py", "exec")
    # The README's way to make it fail is to delete this line.
    assert (project / "driver/my_card.c").read_text().count("iowrite32(ALL, regs + INT_MASK_SET);\n") == 1
    assert "delete the line with INT_MASK_SET in driver/my_card.c" in (project / "README.md").read_text()


def test_the_schema_has_the_keys_of_a_case(tmp_path: Path) -> None:
    assert _new(tmp_path / "mine").exit_code == 0
    schema = json.loads((tmp_path / "mine/case.schema.json").read_text())
    assert schema == json.loads(CliRunner().invoke(main, ["case", "schema"]).output)
    assert {"title", "shows", "steps"} == set(schema["required"])
    step = schema["properties"]["steps"]["items"]["properties"]
    assert step["raise"] == {"type": "integer", "minimum": 1, "description": step["raise"]["description"]}
    assert "resume" in step["driver"]["enum"]
    assert schema["properties"]["shows"]["items"]["enum"][0] == "hang"
    assert schema["properties"]["machine"]["properties"]["slots"]["properties"].keys() == vars(cases.Slots()).keys()
    assert "own" in schema["properties"]["expected"]["propertyNames"]["enum"]
    for name in cases.ids():
        used = toml.load((cases.DIRECTORY / f"{name}.toml").read_text(), name)
        assert used.keys() <= schema["properties"].keys()
        assert all(each.keys() <= step.keys() for each in used["steps"])


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "ünï", "two\nlines", '"""', "..."])
def test_project_is_right_whatever_its_name_is(tmp_path: Path, name: str) -> None:
    program = tmp_path / f"{name}.py"
    program.write_text("import shirq\n")
    for project, options in ((tmp_path / "a" / name, ()), (tmp_path / "b" / name, ("--program", str(program)))):
        done = _new(project, *options)
        assert done.exit_code == 0, done.output
        for file in project.glob("cases/*.toml"):
            case = cases.read(file)
            own.of_case(case, file.parent)
            assert name in case.title or file.name == "neighbours-storm.toml"
        called = tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"]
        assert re.fullmatch("[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", called)
        compile((project / "test_driver.py").read_text(), "test_driver.py", "exec")


@pytest.mark.parametrize("card", CARDS)
def test_a_card_has_a_profile_and_a_driver(tmp_path: Path, card: str) -> None:
    assert _new(tmp_path / "mine", "--card", card).exit_code == 0
    load(folder() / f"{card}.toml")
    case = cases.read(tmp_path / "mine/cases/busy-line.toml")
    assert own.of_case(case, tmp_path / "mine/cases").name == "driver.py"
    text = (tmp_path / "mine/driver/driver.py").read_text()
    compile(text, "driver.py", "exec")
    assert text.startswith("#!/usr/bin/env python3\n")
    # What the README says is to be replaced is there.
    assert "in place of `for event in events:` in\ndriver/driver.py" in (tmp_path / "mine/README.md").read_text()
    assert text.count("for event in events:") == 1
    assert ("HANDLE" in text) == bool(CARDS[card].get("handle"))


@pytest.mark.parametrize(
    ("text", "bound"), [("import shirq", "shirq"), ("/dev/uio0", "uio_pci_generic"), ("VFIO_SET", "vfio-pci")]
)
def test_a_program_is_bound_to_what_it_uses(tmp_path: Path, text: str, bound: str) -> None:
    (tmp_path / "prog.py").write_text(text)
    assert _new(tmp_path / "mine", "--program", str(tmp_path / "prog.py")).exit_code == 0
    case = cases.read(tmp_path / "mine/cases/busy-line.toml")
    assert case.own.bind == bound
    assert own.of_case(case, tmp_path / "mine/cases").path.resolve() == tmp_path / "prog.py"
    goes = cases.read(tmp_path / "mine/cases/driver-goes.toml")
    assert "kill" in [step.argument for step in goes.steps]


def test_a_module_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "mod").mkdir()
    (tmp_path / "mod/Kbuild").write_text("obj-m := mod.o\n")
    assert _new(tmp_path / "mine", "--module", str(tmp_path / "mod")).exit_code == 0
    case = cases.read(tmp_path / "mine/cases/busy-line.toml")
    assert own.of_case(case, tmp_path / "mine/cases").path.resolve() == tmp_path / "mod"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--card", "vax"], f"no card 'vax': a project can be made for {', '.join(CARDS)}"),
        (["--card", "nvme", "--program", "x"], "exclude each other: a project has one driver"),
        (["--module", "nowhere"], "nowhere: no such file or folder"),
        (["--module", "file"], "file is not a folder: --module takes the folder"),
        (["--program", "nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_a_wrong_option_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    done = _new(tmp_path / "mine", *options)
    assert done.exit_code and says in done.output
    assert not (tmp_path / "mine").exists()


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for directory in (tmp_path, tmp_path / "file"):
        done = _new(directory)
        assert done.exit_code == 1 and "exists and is not an empty folder" in done.output
    assert _files(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "kept"
