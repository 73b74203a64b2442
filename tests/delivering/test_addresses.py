import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.addresses import refusal


def allowed(address: str, *, private: bool = False, loopback: bool = False) -> bool:
    return refusal(address, allow_private=private, allow_loopback=loopback) is None


def disguises(address: str) -> list[str]:
    first, second = (int.from_bytes(bytes(map(int, address.split(".")[i : i + 2])), "big") for i in (0, 2))
    tail = f"{first:x}:{second:x}"
    return [address, f"::ffff:{address}", f"::{address}", f"64:ff9b::{tail}", f"2002:{tail}::1"]


METADATA = ["169.254.169.254", "169.254.170.2", "169.254.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16"]


@pytest.mark.parametrize("address", METADATA)
def test_metadata_is_never_dialed_in_no_disguise(address: str) -> None:
    assert not any(allowed(disguise, private=True, loopback=True) for disguise in disguises(address))


@pytest.mark.parametrize("address", ["fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::a9fe:a9fe%eth0"])
def test_metadata_and_link_local_of_ipv6_are_never_dialed(address: str) -> None:
    assert not allowed(address, private=True, loopback=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3"])
def test_the_machine_itself_is_dialed_only_where_the_platform_allows_it(address: str) -> None:
    assert not any(allowed(disguise, private=True) for disguise in disguises(address))
    assert all(allowed(disguise, loopback=True) for disguise in disguises(address) if disguise != "::0.0.0.0")


@pytest.mark.parametrize("address", ["10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "192.0.2.1", "198.18.0.1"])
def test_private_addresses_are_dialed_only_where_the_platform_allows_it(address: str) -> None:
    assert not any(allowed(disguise, loopback=True) for disguise in disguises(address))
    assert all(allowed(disguise, private=True) for disguise in disguises(address))


@pytest.mark.parametrize("address", ["::1", "::", "::ffff:127.0.0.1"])
def test_the_machine_itself_has_names_in_ipv6(address: str) -> None:
    assert not allowed(address, private=True)
    assert allowed(address, loopback=True)


@pytest.mark.parametrize("address", ["fc00::1", "fd12:3456::1"])
def test_unique_local_addresses_are_private(address: str) -> None:
    assert not allowed(address)
    assert allowed(address, private=True)


@pytest.mark.parametrize("address", ["224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255"])
def test_nothing_is_sent_to_everybody(address: str) -> None:
    assert not allowed(address, private=True, loopback=True)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_the_internet_is_open(address: str) -> None:
    assert allowed(address)


@given(st.text() | st.ip_addresses().map(str))
def test_any_text_gets_an_answer(text: str) -> None:
    refusal(text, allow_private=False, allow_loopback=False)
