"""Measurements that need more than a load on one model, such as open streams or an idle gateway."""
