import pytest

from runners.worker.io import egress_policy
from runners.worker.io.egress_policy import EgressPolicy
from schemas import egress
from schemas.egress import SPECIAL_NETWORKS, classify

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


def policy(private: bool = False) -> EgressPolicy:
    return EgressPolicy(SPECIAL_NETWORKS, allow_private=private)


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(("address", "why"), NEVER)
def test_some_hosts_are_never_allowed(address: str, why: str, private: bool):
    assert why in (policy(private).refusal(address) or "")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_hosts_are_allowed_if_the_operator_says_so(address: str):
    assert policy(private=True).refusal(address) is None
    assert "SAMOVAR_PRIVATE_INPUTS" in (policy(private=False).refusal(address) or "")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_hosts_are_allowed(address: str):
    assert policy().refusal(address) is None


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("address", [*PRIVATE, *PUBLIC, "169.254.169.254"])
def test_nothing_is_allowed_without_a_policy(address: str, private: bool):
    assert EgressPolicy((), allow_private=private).refusal(address) is not None


EDGES = [
    str(network[place]) for text, _ in SPECIAL_NETWORKS for network in [egress.ip_network(text)] for place in (0, -1)
]


@pytest.mark.parametrize("private", [True, False])
def test_a_worker_reads_the_networks_as_the_gateway_does(private: bool):
    allowed = {egress.PUBLIC, egress.PRIVATE} if private else {egress.PUBLIC}
    for address in [*EDGES, *PRIVATE, *PUBLIC, *[str(each.values[0]) for each in NEVER]]:
        expected = all(kind in allowed for _, kind in classify(address))
        assert (policy(private).refusal(address) is None) == expected, address


def test_both_readings_name_the_kinds_alike():
    assert (egress_policy.PUBLIC, egress_policy.PRIVATE) == (egress.PUBLIC, egress.PRIVATE)
