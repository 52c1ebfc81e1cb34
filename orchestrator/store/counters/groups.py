"""The trigger functions that count a group's parents by state and its cells by end.

They run after the other counters of their table. Whoever changes them holds the key's `usage`
row, which is the mutex of its groups too: erasures and pruning, which change nothing else that is
counted, lock it for them.
"""

# What one row of a parent, `p`, counts for in its group.
COUNTED = """(VALUES
      ('parents.' || CASE p.state WHEN 'delayed' THEN 'queued' ELSE p.state END, 1),
      ('cells', p.total), ('cells.failed', p.failed), ('cells.canceled', p.canceled),
      ('cells.completed', p.done - p.failed - p.canceled - p.expired),
      ('cells.expired', p.expired)) AS counted (what, n)"""

COUNT_GROUPED_PARENTS = f"""
CREATE OR REPLACE FUNCTION count_grouped_parents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF tg_op = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM after WHERE group_id IS NOT NULL) THEN RETURN NULL; END IF;
    INSERT INTO group_usage AS u (group_id, what, n)
    SELECT p.group_id, what, sum(n)
    FROM after p
    CROSS JOIN LATERAL {COUNTED}
    WHERE p.group_id IS NOT NULL
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (group_id, what) DO UPDATE SET n = u.n + excluded.n;
  ELSIF tg_op = 'DELETE' THEN
    IF NOT EXISTS (SELECT FROM before WHERE group_id IS NOT NULL) THEN RETURN NULL; END IF;
    INSERT INTO group_usage AS u (group_id, what, n)
    SELECT p.group_id, what, -sum(n)
    FROM before p
    CROSS JOIN LATERAL {COUNTED}
    WHERE p.group_id IS NOT NULL
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (group_id, what) DO UPDATE SET n = u.n + excluded.n;
  ELSE
    IF NOT EXISTS (SELECT FROM after WHERE group_id IS NOT NULL) THEN RETURN NULL; END IF;
    INSERT INTO group_usage AS u (group_id, what, n)
    SELECT group_id, what, sum(n)
    FROM (
      SELECT p.group_id, what, n
      FROM after p
      CROSS JOIN LATERAL {COUNTED}
      WHERE p.group_id IS NOT NULL
      UNION ALL
      SELECT p.group_id, what, -n
      FROM before p
      CROSS JOIN LATERAL {COUNTED}
      WHERE p.group_id IS NOT NULL) AS both_sides
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (group_id, what) DO UPDATE SET n = u.n + excluded.n;
  END IF;
  RETURN NULL;
END $$
"""  # noqa: S608 - of this file

COUNT_GROUPED_CHILDREN = """
CREATE OR REPLACE FUNCTION count_grouped_children() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF tg_op = 'DELETE' THEN
    IF NOT EXISTS (SELECT FROM before WHERE group_id IS NOT NULL) THEN RETURN NULL; END IF;
    INSERT INTO group_usage AS u (group_id, what, n)
    SELECT group_id, 'cells.processing', -count(*)
    FROM before WHERE group_id IS NOT NULL AND state = 'processing'
    GROUP BY 1 ORDER BY 1
    ON CONFLICT (group_id, what) DO UPDATE SET n = u.n + excluded.n;
  ELSE
    IF NOT EXISTS (SELECT FROM after WHERE group_id IS NOT NULL) THEN RETURN NULL; END IF;
    INSERT INTO group_usage AS u (group_id, what, n)
    SELECT group_id, 'cells.processing', sum(n)
    FROM (SELECT group_id, 1 n FROM after
          WHERE group_id IS NOT NULL AND state = 'processing'
          UNION ALL
          SELECT group_id, -1 FROM before
          WHERE group_id IS NOT NULL AND state = 'processing') AS both_sides
    GROUP BY 1 HAVING sum(n) <> 0 ORDER BY 1
    ON CONFLICT (group_id, what) DO UPDATE SET n = u.n + excluded.n;
  END IF;
  RETURN NULL;
END $$
"""
