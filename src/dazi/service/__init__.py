"""The gateway without its web: it starts generations, runs them, shows their logs, and ends them.

Laws: a generation belongs to its owner, and to anybody else it does not exist; it runs in a task of its own, which no
connection owns; every one ends in exactly one terminal event, whatever happens to its upstream, its readers or its
process's goodbye.
"""

from dazi.service.gateway import Gateway
from dazi.service.runner import Limits

__all__ = ["Gateway", "Limits"]
