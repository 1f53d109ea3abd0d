import pytest

from runners.worker.io.egress_policy import refusal

NEVER = [
    pytest.param("169.254.169.254", "a metadata service", id="metadata"),
    pytest.param("::ffff:169.254.169.254", "a metadata service", id="metadata in IPv6"),
    pytest.param("::169.254.169.254", "a metadata service", id="metadata in old IPv6"),
    pytest.param("64:ff9b::a9fe:a9fe", "a metadata service", id="metadata behind NAT64"),
    pytest.param("2002:a9fe:a9fe::1", "a metadata service", id="metadata by 6to4"),
    pytest.param("fd00:ec2::254", "a metadata service", id="metadata of IPv6"),
    pytest.param("100.100.100.200", "a metadata service", id="metadata elsewhere"),
    pytest.param("169.254.1.1", "link-local", id="link-local"),
    pytest.param("fe80::1%eth0", "link-local", id="link-local of IPv6"),
    pytest.param("0.0.0.0", "no address of a host", id="unspecified"),
    pytest.param("0.1.2.3", "no address of a host", id="this network"),
    pytest.param("::", "no address of a host", id="unspecified of IPv6"),
    pytest.param("224.0.0.1", "multicast", id="multicast"),
    pytest.param("ff02::1", "multicast", id="multicast of IPv6"),
    pytest.param("255.255.255.255", "reserved", id="broadcast"),
    pytest.param("240.0.0.1", "reserved", id="reserved"),
]
PRIVATE = ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.0.0.1"]
PUBLIC = ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(("address", "why"), NEVER)
def test_some_hosts_are_never_asked(address: str, why: str, private: bool):
    assert why in (refusal(address, private=private) or "")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_hosts_are_asked_if_that_is_allowed(address: str):
    assert refusal(address, private=True) is None
    assert "SAMOVAR_PRIVATE_INPUTS" in (refusal(address, private=False) or "")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_hosts_are_asked(address: str):
    assert refusal(address, private=False) is None
