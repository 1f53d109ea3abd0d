import pytest

from gateway.egress.policy import EgressPolicy, parse_allow_list


@pytest.mark.parametrize(
    ("address", "word"),
    [
        pytest.param("127.0.0.1", "private", id="loopback"),
        pytest.param("::1", "private", id="loopback 6"),
        pytest.param("10.1.2.3", "private", id="10"),
        pytest.param("172.16.0.1", "private", id="172.16"),
        pytest.param("192.168.0.1", "private", id="192.168"),
        pytest.param("100.64.0.1", "private", id="shared by a carrier"),
        pytest.param("fd12::1", "private", id="unique local"),
        pytest.param("::ffff:10.0.0.1", "10.0.0.1 is a private", id="mapped"),
        pytest.param("64:ff9b::7f00:1", "127.0.0.1 is a private", id="translated"),
        pytest.param("2002:a00:1::", "10.0.0.1 is a private", id="6to4"),
        pytest.param("::7f00:1", "127.0.0.1 is a private", id="compatible"),
        pytest.param("169.254.169.254", "metadata", id="metadata"),
        pytest.param("::ffff:169.254.169.254", "metadata", id="metadata, mapped"),
        pytest.param("fd00:ec2::254", "metadata", id="metadata 6"),
        pytest.param("169.254.1.1", "link-local", id="link-local"),
        pytest.param("fe80::1%eth0", "link-local", id="link-local 6"),
        pytest.param("224.0.0.1", "multicast", id="multicast"),
        pytest.param("ff02::1", "multicast", id="multicast 6"),
        pytest.param("240.0.0.1", "reserved", id="reserved"),
        pytest.param("255.255.255.255", "reserved", id="broadcast"),
        pytest.param("0.0.0.0", "no address", id="unspecified"),
        pytest.param("0.1.2.3", "no address", id="this network"),
        pytest.param("::", "no address", id="unspecified 6"),
    ],
)
def test_webhooks_are_not_sent_to_special_addresses(address: str, word: str):
    refused = EgressPolicy().refusal("https", "example.com", address)
    assert refused is not None
    assert word in refused
    lenient = EgressPolicy(allow_private=True).refusal("https", "example.com", address)
    assert (lenient is None) == (word.endswith("private"))


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_are_allowed(address: str):
    assert EgressPolicy().refusal("http", "example.com", address) is None


def test_only_listed_networks_and_hosts_are_allowed():
    networks, hosts = parse_allow_list("10.0.0.0/8, hooks.lan,192.168.1.5")
    reach = EgressPolicy(networks=networks, hosts=hosts)
    assert reach.refusal("http", "x", "10.9.9.9") is None
    assert reach.refusal("http", "x", "::ffff:10.9.9.9") is None
    assert reach.refusal("http", "x", "192.168.1.5") is None
    assert reach.refusal("http", "HOOKS.lan", "172.16.0.1") is None
    assert reach.refusal("http", "x", "192.168.1.6")
    assert reach.refusal("http", "x", "fd12::1")


@pytest.mark.parametrize("text", ["10.0.0.0/33", "300.1.1.1", "http://x", "a b", "*"])
def test_what_is_neither_a_network_nor_a_name_is_refused(text: str):
    with pytest.raises(ValueError, match="neither"):
        parse_allow_list(text)


def test_https_can_be_required():
    assert "SAMOVAR_WEBHOOK_HTTP" in (EgressPolicy(allow_http=False).refusal_by_name("http", "example.com") or "")
    assert EgressPolicy(allow_http=False).refusal_by_name("https", "example.com") is None
    assert EgressPolicy().refusal_by_name("https", "sub.localhost")
