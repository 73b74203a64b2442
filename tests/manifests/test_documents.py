"""YAML of people and of strangers: read as Kubernetes reads it, bounded, and every fault at its place."""

import time

import pytest

from forebay.document import MAX_BYTES, documents


def data(text: str | bytes) -> object:
    (document,) = documents(text)
    assert not document.faults
    return document.data


def fault(text: str | bytes) -> str:
    (found,) = [str(fault) for document in documents(text) for fault in document.faults]
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: None", "None"),
        ("a: null", None),
        ("a: ~", None),
        ("a:", None),
        ("a: 12", 12),
        ("a: 0x10", 16),
        ("a: 1.5", 1.5),
        ("a: 1e3", "1e3"),
        ("a: true", True),
        ("a: off", False),
        ("a: '12'", "12"),
        ("a: 2026-11-24", "2026-11-24"),
        ("a: 1:30", "1:30"),
        ("a: 1_000", "1_000"),
        ("a: .inf", ".inf"),
        ("a: 99999999999999999999999999999999", 1e32),
        ("a: !!python/object:os.system {}", {}),
    ],
)
def test_a_scalar_is_what_a_person_meant(text: str, value: object) -> None:
    assert data(text) == {"a": value}


def test_empty_documents_are_passed_over() -> None:
    assert [document.data for document in documents("---\n---\na: 1\n---\n# nothing\n")] == [{"a": 1}]


def test_a_byte_order_mark_is_no_fault() -> None:
    assert data(b"\xef\xbb\xbfa: 1") == {"a": 1}


def test_every_path_has_its_place() -> None:
    (document,) = documents("a:\n  b:\n    - c: 1\n    - {d: 2}\n")
    assert document.place(("a", "b", 1, "d")) == (4, 8)
    assert document.place(("a", "b", 1, "missing")) == (4, 7)
    assert document.place(("a", "missing")) == (1, 1)


def test_an_alias_stands_for_what_it_names() -> None:
    assert data("a: &x {b: 1}\nc: *x") == {"a": {"b": 1}, "c": {"b": 1}}


def test_an_alias_bomb_is_refused_at_once() -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    started = time.perf_counter()
    assert "multiply beyond all measure" in fault("\n".join(layers))
    assert time.perf_counter() - started < 5


def test_an_alias_within_itself_is_refused() -> None:
    assert "multiply beyond all measure" in fault("a: &a [*a]")


@pytest.mark.parametrize("text", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000, "a: " + "[" * 500 + "]" * 500])
def test_what_is_nested_too_deep_is_refused(text: str) -> None:
    assert "nested more than 40 deep" in fault(text)


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    assert "too many" in fault(b"a: " + b"x" * MAX_BYTES)
    assert "more than 50000 values" in fault("[" + "a," * 60_000 + "]")


def test_bytes_that_are_no_text_are_refused_with_their_line() -> None:
    assert "byte 6 (line 2) is not UTF-8" in fault(b"a: 1\nb\xff: 2")


def test_a_key_that_stands_twice_is_refused_where_it_stands_again() -> None:
    assert fault("a:\n  b: 1\n  c: 2\n  b: 3\n").startswith("4:3: a.b: b stands here twice")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\n\tb: 2", "indent with spaces"),
        ("a: b: c", "put the value in quotes"),
        ("a: [1, 2", "check quotes, brackets"),
        ("a: 1\n b: 2", "not YAML"),
        ("a: *nobody", "not YAML"),
        ("? [a, b]\n: 1", "can not be a key"),
        ("<<: {a: 1}", "merge keys"),
        ("a: \x07", "not YAML"),
        ("%YAML 9.9\n---\na: 1", "not YAML"),
    ],
)
def test_bad_yaml_is_a_fault_with_a_remedy(text: str, says: str) -> None:
    assert says in fault(text)


def test_a_stranger_s_key_can_not_write_on_the_terminal() -> None:
    assert fault('"a\\n\\e[31mb": 1\n"a\\n\\e[31mb": 2').startswith(
        r"2:1: a\n\x1b[31mb: a\n\x1b[31mb stands here twice"
    )
    assert len(fault(f"{'k' * 500}: 1\n{'k' * 500}: 2")) < 300
