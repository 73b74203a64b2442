"""What two webhooks are the same by: what the manifest says, and never less than what makes them the same."""

import pytest
from multidict import CIMultiDict

from forebay.settings import Deduplication, IngestSettings, Verification
from forebay_ingest.sameness import Sameness, sameness_of
from tests.receiving.endpoint import settings

GITHUB = Verification(provider="GitHub", secret_files=("s",))
STANDARD = Verification(provider="StandardWebhooks", secret_files=("s",))


def by(key: str = "auto", verification: Verification = GITHUB, **where: str) -> Sameness:
    wanted = Deduplication(key=key, **where)  # type: ignore[arg-type]
    source: IngestSettings = settings(verification=verification)
    return sameness_of(source, wanted)


def digest(sameness: Sameness, *, target: str = "/a", body: bytes = b"{}", **headers: str) -> bytes | None:
    return sameness(CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), target, body)


def test_an_id_that_is_not_signed_counts_with_the_body_it_came_with() -> None:
    github = by()
    first = digest(github, X_GitHub_Delivery="1")
    assert first is not None
    assert len(first) == 16
    assert digest(github, X_GitHub_Delivery="1") == first
    assert digest(github, X_GitHub_Delivery="1", body=b"{ }") != first
    assert digest(github, X_GitHub_Delivery="2") != first


def test_an_id_that_is_signed_counts_alone() -> None:
    standard = by(verification=STANDARD)
    assert digest(standard, webhook_id="1", body=b"1") == digest(standard, webhook_id="1", body=b"2") is not None


@pytest.mark.parametrize(
    ("sameness", "one", "other"),
    [
        (by("header", header="X-Id"), {"X_Id": "1"}, {"X_Id": "2"}),
        (by("jsonPath", json_path="a.id"), {"body": b'{"a": {"id": "1"}}'}, {"body": b'{"a": {"id": "2"}}'}),
        (by("jsonPath", json_path="a.id"), {"body": b'{"a": {"id": 1}}'}, {"body": b'{"a": {"id": 2}}'}),
        (by("bodyHash"), {"body": b"1"}, {"body": b"2"}),
    ],
)
def test_what_the_manifest_says_tells_two_apart(sameness: Sameness, one: dict[str, str], other: dict[str, str]) -> None:
    assert digest(sameness, **one) == digest(sameness, **one) is not None  # type: ignore[arg-type]
    assert digest(sameness, **one) != digest(sameness, **other)  # type: ignore[arg-type]
    elsewhere = digest(sameness, target="/a/b", **one)  # type: ignore[arg-type]
    assert elsewhere not in (digest(sameness, **one), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body", [b"", b"[", b"{}", b'{"id": null}', b'{"id": ""}', b'{"id": []}', b'{"id": true}', b"[" * 10_000]
)
def test_a_webhook_without_its_id_is_like_no_other(body: bytes) -> None:
    assert digest(by("jsonPath", json_path="id"), body=body) is None
    assert digest(by("header", header="X-Id"), body=body) is None
    assert digest(by("header", header="X-Id"), body=body, X_Id="") is None
    assert digest(by(), body=body) is None


def test_two_sources_have_different_digests_of_one_webhook() -> None:
    other = sameness_of(settings(source="payments/other"), Deduplication())
    assert digest(other, X_GitHub_Delivery="1") != digest(by(), X_GitHub_Delivery="1")
