"""Instances: loaded versions, which of them run on this host, and where.

`autoscaler` wants an instance, `scheduler` finds it a slot, `factory` and `instance` load it, `pool` owns them all, and
`monitor` watches their memory and health.
"""
