"""What cells cost, by their surfaces."""

import msgspec

from orchestrator.domain.plan import Plan

COSTS = {"chat": 2, "maps": 0, "news": 3}
"""Credits of a cell that shows something, now and always."""


def priced(plan: Plan) -> Plan:
    """As it is stored, with what its cells cost; what costs nothing has no price."""
    costs = {name: COSTS[name] for name in plan.surfaces if COSTS[name]}
    return msgspec.structs.replace(plan, costs=costs) if costs else plan
