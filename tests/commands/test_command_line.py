"""What every command has in common: help with examples, one line for an error, exit codes, a quick start."""

import subprocess
import sys

import click
import pytest

from forebay.errors import Busy, SpecError, Unavailable
from forebay_cli import __main__ as rim
from forebay_cli.__main__ import COMMANDS, cli
from tests.support.command_line import forebay

Capture = pytest.CaptureFixture[str]

CONTEXT = click.Context(cli)
EVERY = {name: cli.get_command(CONTEXT, name) for name in COMMANDS}


def commands() -> list[click.Command]:
    known = [command for command in EVERY.values() if command is not None]
    return [
        *known,
        *(inner for command in known if isinstance(command, click.Group) for inner in command.commands.values()),
    ]


def test_help_lists_every_command(capsys: Capture) -> None:
    ran = forebay(capsys, "--help")
    assert ran.status == 0
    assert all(f"  {name}" in ran.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_commands_help_begins_with(name: str) -> None:
    command = EVERY[name]
    assert command is not None
    assert (command.help or "").splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize("command", commands(), ids=lambda command: str(command.name))
def test_each_help_has_examples(command: click.Command) -> None:
    assert "Examples:" in (command.epilog or "")
    assert "forebay " in (command.epilog or "")


def test_help_imports_neither_broker_nor_model_nor_screen() -> None:
    program = "import sys\nfrom forebay_cli.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "click" in loaded
    assert loaded.isdisjoint({"pika", "aiohttp", "pydantic", "rich", "asyncio", "yaml"})


def test_without_a_command_help_is_shown_and_it_counts_as_bad_usage(capsys: Capture) -> None:
    ran = forebay(capsys)
    assert (ran.status, ran.out) == (2, "")
    assert "Commands:" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["dvev"],
        ["validate"],
        ["send", "--count", "none"],
        ["--state-dir"],
        ["init", "gitlap"],
        ["validate", "-f", "/nowhere.yaml"],
        ["dlq", "replay"],
        ["completion", "tcsh"],
        ["send", "--header", "no colon", "-f", "examples/github", "--url", "http://127.0.0.1:1"],
        ["send", "--secret", "half", "-f", "examples/github", "--url", "http://127.0.0.1:1"],
        ["send", "-f", "examples/github", "--url", "hooks.example"],
        ["dlq", "list", "--broker", "http://not-amqp"],
        ["dlq", "list", "--broker", "amqp://localhost"],
        ["dlq", "list", "--broker", "amqp://localhost", "--source", "a/b", "--since", "yesterday"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_one_line_with_a_remedy_and_exit_code_2(
    capsys: Capture, arguments: list[str], tmp_path: object
) -> None:
    ran = forebay(capsys, "--state-dir", str(tmp_path), *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert ";" in ran.err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SpecError("spec.x is wrong; write y\nspec.z too"), 2, "error: spec.x is wrong; write y\nerror: spec.z too\n"),
        (Unavailable("the broker is away; start it"), 1, "error: the broker is away; start it\n"),
        (Busy("too many"), 1, "error: too many\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (
            ZeroDivisionError("division\nby zero"),
            1,
            "error: this should not happen: ZeroDivisionError: division by zero; FOREBAY_DEBUG=1 shows where, please report it\n",
        ),
    ],
)
def test_every_error_becomes_lines_and_an_exit_code(
    capsys: Capture, error: BaseException, status: int, said: str
) -> None:
    assert rim.report(error) == status
    assert capsys.readouterr().err == said


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_DEBUG", "1")
    with pytest.raises(SpecError):
        rim.main(["validate", "-f", "/nowhere.yaml"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_forebay_itself(capsys: Capture, shell: str) -> None:
    ran = forebay(capsys, "completion", shell)
    assert ran.status == 0
    assert "_FOREBAY_COMPLETE" in ran.out


def test_completion_knows_commands_and_options(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for name, value in {
        "_FOREBAY_COMPLETE": "bash_complete",
        "COMP_WORDS": "forebay dlq re",
        "COMP_CWORD": "2",
    }.items():
        monkeypatch.setenv(name, value)
    assert "replay" in forebay(capsys).out


def test_the_version_is_said(capsys: Capture) -> None:
    assert forebay(capsys, "--version").out.startswith("forebay 0.")
