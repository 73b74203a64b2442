"""Secrets of manifests: read as Kubernetes reads them, and never shown."""

import pytest

from forebay.manifest import ManifestError, parse

SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: n}
"""


def test_data_and_string_data_are_both_read() -> None:
    found = parse(SECRET + "data: {a: aGVsbG8=, b: b25l}\nstringData: {b: two}")
    secret = found.secret("n", "s")
    assert secret is not None
    assert secret.data == {"a": b"hello", "b": b"two"}
    assert found.secret("n", "other") is None
    assert found.secret("default", "s") is None


def test_base64_may_be_folded_over_lines() -> None:
    secret = parse(SECRET + "data:\n  a: |\n    aGVs\n    bG8=\n").secret("n", "s")
    assert secret is not None
    assert secret.data == {"a": b"hello"}


def test_a_value_is_never_shown() -> None:
    assert "hunter2" not in repr(parse(SECRET + "stringData: {password: hunter2}"))


@pytest.mark.parametrize("given", ["data: {a: hunter2!}", "stringData: {a: {hunter2: 1}}", "data: [hunter2]"])
def test_a_wrong_value_is_not_shown_either(given: str) -> None:
    with pytest.raises(ManifestError) as raised:
        parse(SECRET + given)
    assert "hunter2" not in str(raised.value)


def test_objects_of_other_kinds_are_left_alone_with_a_note() -> None:
    found = parse("apiVersion: v1\nkind: Service\nmetadata: {name: orders}\n---\n" + SECRET)
    assert found.notes == ("Service 'orders' is not for Forebay, and left alone",)
    assert len(found.secrets) == 1
