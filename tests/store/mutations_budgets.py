"""Guards of credits, quotas, tasks and lanes that learn nothing, each taken away."""

from tests.store.mutating import (
    BREAKER,
    BUDGETS,
    CANCEL,
    DISMISS,
    LANE_PLACES,
    LIMITS,
    PARENT_COUNTERS,
    RETRY,
    SETTLE,
    STEERING_RACES,
    TASK_PLANS,
    TASKS,
    USAGE,
    Mutation,
    swap,
)

CLOROS = "tests/api/test_cloro.py"
DECIDED = ("tests/unit/test_deciding.py", BUDGETS)
WAITS = "state IN ('queued', 'delayed') OR mode = 'detached'"
BUDGET = (
    Mutation(
        "budget: what is held is not free",
        PARENT_COUNTERS,
        swap(("u.credits - excluded.held - excluded.charged", "u.credits - excluded.charged")),
        (BUDGETS,),
    ),
    Mutation(
        "budget: what is charged does not come back",
        PARENT_COUNTERS,
        swap(("u.credits - excluded.held - excluded.charged", "u.credits - excluded.held")),
        (BUDGETS,),
    ),
    Mutation(
        "budget: an end releases what is left",
        "orchestrator/store/counters/rollup.py",
        swap(("CASE WHEN finished_at IS NULL THEN", "CASE WHEN true THEN")),
        (BUDGETS,),
    ),
    Mutation(
        "budget: what works is charged too",
        PARENT_COUNTERS,
        swap(
            (f"{WAITS} OR estimated > 0\n                UNION", f"{WAITS}\n                UNION")
        ),
        (BUDGETS,),
    ),
    Mutation(
        "budget: a retry holds what its cells may cost",
        RETRY,
        swap(("estimated = charged + %(credits)s,", "")),
        (BUDGETS,),
    ),
    Mutation(
        "budget: a quota counts sync cells",
        PARENT_COUNTERS,
        swap(("sum(total)::int n, sum(estimated) h", "0 n, sum(estimated) h")),
        (BUDGETS,),
    ),
    Mutation(
        "budget: a quota counts the cells of a retry",
        PARENT_COUNTERS,
        swap(("array_agg(greatest(0, c) ORDER BY k, p)", "array_agg(0 ORDER BY k, p)")),
        (BUDGETS,),
    ),
    Mutation(
        "budget: a day begins anew",
        PARENT_COUNTERS,
        swap(("CASE WHEN u.used_on >= excluded.used_on THEN u.used_day ELSE 0 END", "u.used_day")),
        (BUDGETS,),
    ),
    Mutation(
        "budget: a day that is over is not read",
        USAGE,
        swap(("CASE WHEN used_on >= today THEN used_day ELSE 0 END", "used_day")),
        (BUDGETS,),
    ),
    Mutation(
        "budget: a quota follows its key",
        LIMITS,
        swap(
            (
                "    quota_daily = excluded.quota_daily, quota_monthly = excluded.quota_monthly\n",
                "    weight = excluded.weight\n",
            )
        ),
        (BUDGETS,),
    ),
    Mutation(
        "budget: asked before the room",
        "admission/deciding.py",
        swap(
            (
                "self._places.short(demand) or self._places.take(demand)",
                "self._places.take(demand) or self._places.short(demand)",
            )
        ),
        DECIDED,
    ),
    Mutation(
        "budget: a whole ask is paid whole",
        "admission/deciding.py",
        swap(
            (
                "return self._places.short(whole) or self._places.take(whole)",
                "return self._places.take(whole)",
            )
        ),
        DECIDED,
    ),
    Mutation(
        "budget: a replay's caller pays nothing",
        "admission/places.py",
        swap(
            (
                "free = demand._replace(places=0, cells=0, credits=0)",
                "free = demand._replace(places=0)",
            )
        ),
        (*DECIDED, "tests/store/test_admission_sync.py"),
    ),
    Mutation(
        "lanes: one that learns nothing",
        SETTLE,
        swap(("  WHERE l.learns\n    AND (new.strikes", "  WHERE (new.strikes")),
        (BREAKER,),
    ),
    Mutation(
        "lanes: one that learns no more forgets",
        LANE_PLACES,
        swap(("failures = CASE WHEN %(learns)s THEN failures ELSE 0 END,", "")),
        (BREAKER,),
    ),
    Mutation(
        "tasks: a dismissal locks the child",
        DISMISS,
        swap(("AND ordinal = 1 FOR NO KEY UPDATE", "AND ordinal = 1")),
        (STEERING_RACES,),
    ),
    Mutation(
        "tasks: what is called cannot be dismissed",
        DISMISS,
        swap(('child is None or child[0] == "processing"', "child is None")),
        (STEERING_RACES, "tests/api/test_asyncqueue.py"),
    ),
    Mutation(
        "tasks: of this queue alone a dismissal is",
        DISMISS,
        swap((" AND queue IS NOT NULL\nFOR UPDATE", "\nFOR UPDATE")),
        ("tests/api/test_asyncqueue.py",),
    ),
    Mutation(
        "tasks: a cleared task of cloro's is gone",
        CANCEL,
        swap(("payload ->> 'task_type' IS NOT NULL", "false")),
        (CLOROS,),
    ),
    Mutation(
        "tasks: native jobs stay when a queue is cleared",
        CANCEL,
        swap(("payload ->> 'task_type' IS NOT NULL", "true")),
        (CLOROS,),
    ),
    Mutation(
        "tasks: lists go by their own index",
        TASKS,
        swap(("ORDER BY key_id DESC, p.state DESC, id DESC", "ORDER BY id DESC")),
        (TASK_PLANS,),
    ),
)
