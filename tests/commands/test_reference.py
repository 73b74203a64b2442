"""The page of commands is what the commands say of themselves."""

from tools import cli_reference


def test_the_page_in_the_docs_is_that_of_the_commands() -> None:
    assert cli_reference.FILE.read_text("utf-8") == cli_reference.page(), "run `make reference`"
