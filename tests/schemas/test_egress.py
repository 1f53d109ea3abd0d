from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.egress import LINK_LOCAL, METADATA, PRIVATE, PUBLIC, SPECIAL_NETWORKS, classify, kind_of

ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)
EXCEPTIONS = [ip_network(text) for text, kind in SPECIAL_NETWORKS if kind == PUBLIC and text != "2000::/3"]
"""Parts of special networks that are public after all, which older versions of Python do not know."""


@given(ADDRESSES)
@example(ip_address("100.64.0.1"))
@example(ip_address("::ffff:10.0.0.1"))
def test_an_address_that_python_calls_special_is_not_public(ip: IPv4Address | IPv6Address):
    if not ip.is_global and not any(ip in network for network in EXCEPTIONS):
        assert kind_of(ip) != PUBLIC


@given(ADDRESSES)
def test_an_address_is_classified_by_where_it_leads(ip: IPv4Address | IPv6Address):
    kinds = dict(classify(str(ip)))
    assert kinds
    assert kinds == {destination: kind_of(destination) for destination in kinds}


@pytest.mark.parametrize("text", [text for text, _ in SPECIAL_NETWORKS])
def test_no_network_is_hidden_by_one_before_it(text: str):
    networks = [ip_network(each) for each, _ in SPECIAL_NETWORKS]
    network = ip_network(text)
    before = networks[: networks.index(network)]
    assert not any(network.version == each.version and network.subnet_of(each) for each in before)  # type: ignore[arg-type]


def test_the_first_network_that_holds_an_address_decides():
    assert [kind_of(ip_address(text)) for text in ("169.254.169.254", "169.254.1.1")] == [METADATA, LINK_LOCAL]
    assert [kind_of(ip_address(text)) for text in ("192.0.0.9", "192.0.0.8")] == [PUBLIC, PRIVATE]


def test_a_text_that_is_no_address_is_an_error():
    with pytest.raises(ValueError, match="example"):
        list(classify("example.com"))
