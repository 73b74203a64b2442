import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import SpecError
from forebay.settings import RetryPolicy
from forebay.statuses import Statuses, parse


def test_the_first_expression_that_matches_decides() -> None:
    statuses = parse(["!503", "500-599"])
    assert not statuses.retried(503)
    assert statuses.retried(502)
    assert parse(["500-599", "!503"]).retried(503)


def test_a_status_that_nothing_matches_is_not_retried() -> None:
    assert not parse(["500-599"]).retried(404)


def test_exclusions_alone_mean_everything_else() -> None:
    statuses = parse(["!404", "!300-399"])
    assert statuses.retried(500)
    assert statuses.retried(422)
    assert not statuses.retried(404)
    assert not statuses.retried(302)


def test_no_expression_retries_nothing() -> None:
    assert not parse([]).retried(500)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_the_defaults_retry_what_time_may_heal(status: int) -> None:
    assert parse(RetryPolicy().statuses).retried(status)


@pytest.mark.parametrize("status", [300, 301, 307, 400, 401, 403, 404, 410, 422, 499])
def test_the_defaults_retry_neither_redirects_nor_faults_of_the_request(status: int) -> None:
    assert not parse(RetryPolicy().statuses).retried(status)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "!",
        "5xx",
        "500-",
        "-500",
        "599-500",
        "200",
        "100-599",
        "500-600",
        "500 - 599",
        "!!404",
        "\u0665\u0660\u0660",
    ],
)
def test_a_wrong_expression_is_named_with_the_remedy(expression: str) -> None:
    with pytest.raises(SpecError, match=r"it takes|does not lie") as caught:
        parse(["429", expression])
    assert repr(expression) in str(caught.value)


def test_all_wrong_expressions_are_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse(["nope", "200"])
    assert "'nope'" in str(caught.value)
    assert "'200'" in str(caught.value)


def expressions() -> st.SearchStrategy[list[str]]:
    bounds = st.tuples(st.integers(300, 599), st.integers(300, 599)).map(sorted)
    one = st.tuples(st.sampled_from(["", "!"]), bounds).map(lambda t: f"{t[0]}{t[1][0]}-{t[1][1]}")
    return st.lists(one, min_size=1, max_size=6)


def slow_answer(listed: list[str], status: int) -> bool:
    for expression in listed:
        low, high = expression.lstrip("!").split("-")
        if int(low) <= status <= int(high):
            return not expression.startswith("!")
    return all(expression.startswith("!") for expression in listed)


@given(expressions(), st.integers(300, 599))
def test_it_agrees_with_reading_the_list_from_the_top(listed: list[str], status: int) -> None:
    statuses: Statuses = parse(listed)
    assert statuses.retried(status) == slow_answer(listed, status)
