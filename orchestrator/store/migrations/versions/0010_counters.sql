-- The functions of the counters as revision 0010 makes them: all, some had changed unseen.
CREATE OR REPLACE FUNCTION decayed(n float8, since float8, clock float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN n > 1e-9
                  THEN n * exp(greatest(-500, least(0, since - clock) / 30.0)) ELSE 0 END $$;

CREATE OR REPLACE FUNCTION drain_rate(n float8, since float8, began float8, clock float8)
RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN n > 1e-9
                  THEN n * exp(greatest(-500, least(0, since - clock) / 30.0))
                       / (30.0 * (1 - exp(-least(500, greatest(3, clock - began)) / 30.0)))
                  ELSE 0 END $$;

CREATE OR REPLACE FUNCTION rolled_up(state text, total int, done int, failed int, canceled int,
                                     expired int, finish int, cancel_asked bool) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE
        WHEN done < total THEN state
        WHEN done - failed - canceled - expired = total
             OR done - failed - canceled - expired >= finish THEN 'completed'
        WHEN done - failed - canceled - expired > 0 THEN 'partial'
        WHEN cancel_asked THEN 'canceled'
        WHEN failed > 0 THEN 'failed'
        WHEN expired > 0 THEN 'expired'
        ELSE 'canceled' END $$;

CREATE OR REPLACE FUNCTION held(finished_at timestamptz, estimated int, charged int) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN finished_at IS NULL THEN greatest(0, estimated - charged) ELSE 0 END $$;

CREATE OR REPLACE FUNCTION pace_refill(rate float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN rate * 0.75 >= 1 THEN rate ELSE 1 / (1 / rate + 0.25) END $$;

CREATE OR REPLACE FUNCTION pace_tokens(rate float8, tokens float8, filled_at float8, clock float8)
RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN rate IS NOT NULL
                  THEN least(greatest(1, rate * 0.75),
                             coalesce(tokens + pace_refill(rate) * greatest(0, clock - filled_at),
                                      0)) END $$;

CREATE OR REPLACE FUNCTION count_parents() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ks int[]; ps int[]; ds int[]; ys int[]; cs int[]; ts int[]; ns int[];
  hs bigint[]; gs bigint[];
  news int[];
  clock float8 := extract(epoch FROM clock_timestamp());
  today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
  IF tg_op = 'INSERT' THEN
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p), array_agg(d ORDER BY k, p),
           array_agg(y ORDER BY k, p), array_agg(c ORDER BY k, p), array_agg(0 ORDER BY k, p),
           array_agg(n ORDER BY k, p), array_agg(h ORDER BY k, p), array_agg(0 ORDER BY k, p)
    INTO ks, ps, ds, ys, cs, ts, ns, hs, gs
    FROM (SELECT key_id k, priority p, sum(total)::int n, sum(estimated) h,
                 count(*) FILTER (WHERE state IN ('queued', 'delayed'))::int d,
                 count(*) FILTER (WHERE state = 'delayed')::int y,
                 coalesce(sum(total - done) FILTER (WHERE state IN ('queued', 'delayed')), 0)::int c
          FROM after GROUP BY 1, 2) t;
  ELSIF tg_op = 'DELETE' THEN
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p), array_agg(d ORDER BY k, p),
           array_agg(y ORDER BY k, p), array_agg(c ORDER BY k, p), array_agg(t ORDER BY k, p),
           array_agg(0 ORDER BY k, p), array_agg(h ORDER BY k, p), array_agg(0 ORDER BY k, p)
    INTO ks, ps, ds, ys, cs, ts, ns, hs, gs
    FROM (SELECT key_id k, priority p,
                 -count(*) FILTER (WHERE state IN ('queued', 'delayed'))::int d,
                 -count(*) FILTER (WHERE state = 'delayed')::int y,
                 -coalesce(sum(total - done)
                           FILTER (WHERE state IN ('queued', 'delayed')), 0)::int c,
                 -count(*) FILTER (WHERE mode = 'detached' AND finished_at IS NULL)::int t,
                 -sum(held(finished_at, estimated, charged)) h
          FROM before
          WHERE state IN ('queued', 'delayed') OR mode = 'detached' OR estimated > 0
          GROUP BY 1, 2) t
    WHERE d <> 0 OR t <> 0 OR h <> 0;
  ELSE
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p), array_agg(d ORDER BY k, p),
           array_agg(y ORDER BY k, p), array_agg(c ORDER BY k, p), array_agg(t ORDER BY k, p),
           array_agg(greatest(0, c) ORDER BY k, p), array_agg(h ORDER BY k, p),
           array_agg(g ORDER BY k, p)
    INTO ks, ps, ds, ys, cs, ts, ns, hs, gs
    FROM (SELECT k, p, sum(d)::int d, sum(y)::int y, sum(c)::int c, sum(t)::int t, sum(h) h,
                 sum(g) g
          FROM (SELECT key_id k, priority p, (state IN ('queued', 'delayed'))::int d,
                       (state = 'delayed')::int y,
                       CASE WHEN state IN ('queued', 'delayed') THEN total - done ELSE 0 END c,
                       (mode = 'detached' AND finished_at IS NULL)::int t,
                       held(finished_at, estimated, charged) h, charged g
                FROM after
                WHERE state IN ('queued', 'delayed') OR mode = 'detached' OR estimated > 0
                UNION ALL
                SELECT key_id, priority, -(state IN ('queued', 'delayed'))::int,
                       -(state = 'delayed')::int,
                       CASE WHEN state IN ('queued', 'delayed') THEN done - total ELSE 0 END,
                       -(mode = 'detached' AND finished_at IS NULL)::int,
                       -held(finished_at, estimated, charged), -charged
                FROM before
                WHERE state IN ('queued', 'delayed') OR mode = 'detached' OR estimated > 0) x
          GROUP BY 1, 2) t
    WHERE d <> 0 OR y <> 0 OR c <> 0 OR t <> 0 OR h <> 0 OR g <> 0;
  END IF;
  IF ks IS NULL THEN RETURN NULL; END IF;

  IF tg_op <> 'DELETE' THEN
    SELECT array_agg(DISTINCT k) INTO news
    FROM (SELECT DISTINCT key_id k, strand t FROM after WHERE state = 'queued') q
    WHERE NOT EXISTS (SELECT FROM strand s WHERE s.key_id = k AND s.strand = t AND s.waiting);
  END IF;

  INSERT INTO usage AS u (key_id, depth, delayed, detached, held, charged, used_on, used_day,
                          used_month)
  SELECT k, sum(d), sum(y), sum(t), sum(h), sum(g), today, sum(n), sum(n)
  FROM unnest(ks, ds, ys, ts, hs, gs, ns) t(k, d, y, t, h, g, n)
  GROUP BY 1 ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    depth = u.depth + excluded.depth, delayed = u.delayed + excluded.delayed,
    detached = u.detached + excluded.detached,
    fan_turn = CASE WHEN excluded.key_id = ANY(news) THEN 0 ELSE u.fan_turn END,
    held = u.held + excluded.held, charged = u.charged + excluded.charged,
    credits = u.credits - excluded.held - excluded.charged,
    used_day = excluded.used_day
               + CASE WHEN u.used_on >= excluded.used_on THEN u.used_day ELSE 0 END,
    used_month = excluded.used_month
                 + CASE WHEN date_trunc('month', u.used_on) >= date_trunc('month', excluded.used_on)
                        THEN u.used_month ELSE 0 END,
    used_on = greatest(u.used_on, excluded.used_on);

  IF tg_op = 'UPDATE' AND NOT EXISTS (
    SELECT FROM unnest(ds, ys, cs) t(d, y, c) WHERE d <> 0 OR y <> 0 OR c <> 0)
  THEN RETURN NULL; END IF;

  INSERT INTO backlog AS b (key_id, priority, n)
  SELECT k, p, c FROM unnest(ks, ps, cs) t(k, p, c) WHERE c <> 0 ORDER BY 1, 2
  ON CONFLICT (key_id, priority) DO UPDATE SET n = b.n + excluded.n;

  IF tg_op = 'INSERT' THEN
    INSERT INTO strand AS s (key_id, strand, priority, lanes, n, since)
    SELECT k, t, p, ARRAY(SELECT DISTINCT l FROM unnest(ls) l ORDER BY 1), n, clock
    FROM (SELECT key_id k, strand t, min(priority) p, min(lanes) ls, count(*) n
          FROM after WHERE state = 'queued' GROUP BY 1, 2) t
    ORDER BY 1, 2
    ON CONFLICT (key_id, strand) DO UPDATE SET
      n = s.n + excluded.n, since = CASE WHEN s.n > 0 THEN s.since ELSE clock END;

    INSERT INTO inflight AS i (key_id, lane_id, waiting, asked)
    SELECT key_id, l, count(*) FILTER (WHERE state IN ('queued', 'delayed')), count(*)
    FROM after, unnest(lanes) l
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (key_id, lane_id) DO UPDATE SET
      waiting = i.waiting + excluded.waiting, asked = i.asked + excluded.asked;
  ELSIF tg_op = 'DELETE' THEN
    INSERT INTO strand AS s (key_id, strand, priority, lanes, n, since)
    SELECT key_id, strand, min(priority), '{}', -count(*), clock
    FROM before WHERE state = 'queued' GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT (key_id, strand) DO UPDATE SET n = s.n + excluded.n, since = clock;

    INSERT INTO inflight AS i (key_id, lane_id, waiting)
    SELECT key_id, l, -count(*)
    FROM before,
         unnest(CASE WHEN todo IS NULL THEN lanes
                     ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) o) END) l
    WHERE state IN ('queued', 'delayed')
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (key_id, lane_id) DO UPDATE SET waiting = i.waiting + excluded.waiting;
  ELSE
    INSERT INTO strand AS s (key_id, strand, priority, lanes, n, since)
    SELECT k, t, p, ARRAY(SELECT DISTINCT l FROM unnest(ls) l ORDER BY 1), n, clock
    FROM (SELECT k, t, min(p) p, min(ls) ls, sum(n) n
          FROM (SELECT key_id k, strand t, priority p, 1 n,
                       CASE WHEN todo IS NULL THEN lanes
                            ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) o) END ls
                FROM after WHERE state = 'queued'
                UNION ALL
                SELECT key_id, strand, priority, -1, NULL FROM before WHERE state = 'queued') b
          GROUP BY 1, 2 HAVING sum(n) <> 0) t
    ORDER BY 1, 2
    ON CONFLICT (key_id, strand) DO UPDATE SET
      n = s.n + excluded.n,
      since = CASE WHEN s.n > 0 AND excluded.n > 0 THEN s.since ELSE clock END;

    INSERT INTO inflight AS i (key_id, lane_id, waiting)
    SELECT k, l, sum(n)
    FROM (SELECT key_id k, l, count(*) n
          FROM after,
               unnest(CASE WHEN todo IS NULL THEN lanes
                           ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) o) END) l
          WHERE state IN ('queued', 'delayed')
          GROUP BY 1, 2
          UNION ALL
          SELECT key_id, l, -count(*)
          FROM before,
               unnest(CASE WHEN todo IS NULL THEN lanes
                           ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) o) END) l
          WHERE state IN ('queued', 'delayed')
          GROUP BY 1, 2) t
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (key_id, lane_id) DO UPDATE SET waiting = i.waiting + excluded.waiting;
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION count_children() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ks int[]; ls int[]; ps int[]; qs int[]; xs int[]; rs int[]; es int[];
  ws float8[];
  clock float8 := extract(epoch FROM clock_timestamp());
BEGIN
  IF tg_op = 'INSERT' THEN
    SELECT array_agg(k ORDER BY k, l), array_agg(l ORDER BY k, l), array_agg(p ORDER BY k, l),
           array_agg(q ORDER BY k, l), array_agg(x ORDER BY k, l), array_agg(r ORDER BY k, l)
    INTO ks, ls, ps, qs, xs, rs
    FROM (SELECT key_id k, lane_id l, priority p,
                 count(*) FILTER (WHERE state = 'queued') q,
                 count(*) FILTER (WHERE state = 'processing') x,
                 count(*) FILTER (WHERE state = 'retrying') r
          FROM after GROUP BY 1, 2, 3) t
    WHERE q <> 0 OR x <> 0 OR r <> 0;
  ELSIF tg_op = 'DELETE' THEN
    SELECT array_agg(k ORDER BY k, l), array_agg(l ORDER BY k, l), array_agg(p ORDER BY k, l),
           array_agg(q ORDER BY k, l), array_agg(x ORDER BY k, l), array_agg(r ORDER BY k, l)
    INTO ks, ls, ps, qs, xs, rs
    FROM (SELECT key_id k, lane_id l, priority p,
                 -count(*) FILTER (WHERE state = 'queued') q,
                 -count(*) FILTER (WHERE state = 'processing') x,
                 -count(*) FILTER (WHERE state = 'retrying') r
          FROM before GROUP BY 1, 2, 3) t
    WHERE q <> 0 OR x <> 0 OR r <> 0;
  ELSE
    SELECT array_agg(k ORDER BY k, l), array_agg(l ORDER BY k, l), array_agg(p ORDER BY k, l),
           array_agg(q ORDER BY k, l), array_agg(x ORDER BY k, l), array_agg(r ORDER BY k, l),
           array_agg(e ORDER BY k, l), array_agg(w ORDER BY k, l)
    INTO ks, ls, ps, qs, xs, rs, es, ws
    FROM (SELECT k, l, p, sum(q)::int q, sum(x)::int x, sum(r)::int r, sum(e)::int e, sum(w) w
          FROM (SELECT key_id k, lane_id l, priority p, (state = 'queued')::int q,
                       (state = 'processing')::int x, (state = 'retrying')::int r,
                       (state IN ('completed', 'failed'))::int e,
                       CASE WHEN state = 'processing'
                            THEN extract(epoch FROM claimed_at)::float8 - clock END w
                FROM after
                UNION ALL
                SELECT key_id, lane_id, priority, -(state = 'queued')::int,
                       -(state = 'processing')::int, -(state = 'retrying')::int,
                       -(state IN ('completed', 'failed'))::int,
                       CASE WHEN state = 'processing'
                            THEN clock - extract(epoch FROM claimed_at)::float8 END
                FROM before) both_sides
          GROUP BY 1, 2, 3) t
    WHERE q <> 0 OR x <> 0 OR r <> 0;
  END IF;
  IF ks IS NULL THEN RETURN NULL; END IF;

  INSERT INTO usage AS u (key_id, queued, processing, retrying,
                          sync_queued, sync_processing, sync_retrying,
                          ended, ended_at, spent, busy_at)
  SELECT k, sum(q), sum(x), sum(r), sum(q * s), sum(x * s), sum(r * s), greatest(0, sum(e)), clock,
         greatest(0, sum(w)), clock
  FROM (SELECT k, q, x, r, coalesce(e, 0) e, coalesce(w, 0) w, (p > 100)::int s
        FROM unnest(ks, ps, qs, xs, rs, es, ws) t(k, p, q, x, r, e, w)) t
  GROUP BY 1 ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    queued = u.queued + excluded.queued,
    processing = u.processing + excluded.processing,
    retrying = u.retrying + excluded.retrying,
    sync_queued = u.sync_queued + excluded.sync_queued,
    sync_processing = u.sync_processing + excluded.sync_processing,
    sync_retrying = u.sync_retrying + excluded.sync_retrying,
    turn = CASE WHEN excluded.processing > excluded.sync_processing THEN clock ELSE u.turn END,
    sync_turn = CASE WHEN excluded.sync_processing > 0 THEN clock ELSE u.sync_turn END,
    claimed = mod(u.claimed + greatest(0, excluded.processing - excluded.sync_processing), 10),
    ended = CASE WHEN u.queued + u.processing + u.retrying = 0 AND clock - u.ended_at > 3
                 THEN 0
                 WHEN excluded.ended > 0
                 THEN decayed(u.ended, u.ended_at, clock) + excluded.ended ELSE u.ended END,
    ended_from = CASE WHEN u.queued + u.processing + u.retrying = 0 AND clock - u.ended_at > 3
                      THEN clock
                      WHEN excluded.ended > 0 AND clock - u.ended_from > 60
                           AND decayed(u.ended, u.ended_at, clock) < 0.05
                      THEN clock ELSE u.ended_from END,
    busy = CASE WHEN u.queued + u.processing + u.retrying = 0 AND clock - u.ended_at > 3
                THEN 0
                ELSE decayed(u.busy, u.busy_at, clock)
                     + u.processing * (30 - decayed(30, u.busy_at, clock)) END,
    spent = CASE WHEN u.queued + u.processing + u.retrying = 0 AND clock - u.ended_at > 3
                 THEN 0
                 ELSE decayed(u.spent, u.busy_at, clock) + excluded.spent END,
    busy_at = clock,
    ended_at = CASE WHEN excluded.ended > 0 THEN clock ELSE u.ended_at END;

  INSERT INTO backlog AS b (key_id, priority, n)
  SELECT k, CASE WHEN p > 100 THEN p - 100 ELSE p END, sum(q + r)
  FROM unnest(ks, ps, qs, rs) t(k, p, q, r)
  GROUP BY 1, 2 HAVING sum(q + r) <> 0 ORDER BY 1, 2
  ON CONFLICT (key_id, priority) DO UPDATE SET n = b.n + excluded.n;

  INSERT INTO inflight AS i (key_id, lane_id, queued, processing, retrying, sync_queued)
  SELECT k, l, sum(q), sum(x), sum(r), sum(CASE WHEN p > 100 THEN q ELSE 0 END)
  FROM unnest(ks, ls, ps, qs, xs, rs) t(k, l, p, q, x, r)
  GROUP BY 1, 2 ORDER BY 1, 2
  ON CONFLICT (key_id, lane_id) DO UPDATE SET
    queued = i.queued + excluded.queued,
    processing = i.processing + excluded.processing,
    retrying = i.retrying + excluded.retrying,
    sync_queued = i.sync_queued + excluded.sync_queued;

  INSERT INTO lane_load AS l (lane_id, queued, processing, retrying, sync_processing)
  SELECT k, sum(q), sum(x), sum(r), sum(CASE WHEN p > 100 THEN x ELSE 0 END)
  FROM unnest(ls, ps, qs, xs, rs) t(k, p, q, x, r)
  GROUP BY 1 ORDER BY 1
  ON CONFLICT (lane_id) DO UPDATE SET
    queued = l.queued + excluded.queued,
    processing = l.processing + excluded.processing,
    retrying = l.retrying + excluded.retrying,
    sync_processing = l.sync_processing + excluded.sync_processing;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION count_grouped_parents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF tg_op = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM after WHERE group_id IS NOT NULL) THEN RETURN NULL; END IF;
    INSERT INTO group_usage AS u (group_id, what, n)
    SELECT p.group_id, what, sum(n)
    FROM after p
    CROSS JOIN LATERAL (VALUES
      ('parents.' || CASE p.state WHEN 'delayed' THEN 'queued' ELSE p.state END, 1),
      ('cells', p.total), ('cells.failed', p.failed), ('cells.canceled', p.canceled),
      ('cells.completed', p.done - p.failed - p.canceled - p.expired),
      ('cells.expired', p.expired)) AS counted (what, n)
    WHERE p.group_id IS NOT NULL
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (group_id, what) DO UPDATE SET n = u.n + excluded.n;
  ELSIF tg_op = 'DELETE' THEN
    IF NOT EXISTS (SELECT FROM before WHERE group_id IS NOT NULL) THEN RETURN NULL; END IF;
    INSERT INTO group_usage AS u (group_id, what, n)
    SELECT p.group_id, what, -sum(n)
    FROM before p
    CROSS JOIN LATERAL (VALUES
      ('parents.' || CASE p.state WHEN 'delayed' THEN 'queued' ELSE p.state END, 1),
      ('cells', p.total), ('cells.failed', p.failed), ('cells.canceled', p.canceled),
      ('cells.completed', p.done - p.failed - p.canceled - p.expired),
      ('cells.expired', p.expired)) AS counted (what, n)
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
      CROSS JOIN LATERAL (VALUES
      ('parents.' || CASE p.state WHEN 'delayed' THEN 'queued' ELSE p.state END, 1),
      ('cells', p.total), ('cells.failed', p.failed), ('cells.canceled', p.canceled),
      ('cells.completed', p.done - p.failed - p.canceled - p.expired),
      ('cells.expired', p.expired)) AS counted (what, n)
      WHERE p.group_id IS NOT NULL
      UNION ALL
      SELECT p.group_id, what, -n
      FROM before p
      CROSS JOIN LATERAL (VALUES
      ('parents.' || CASE p.state WHEN 'delayed' THEN 'queued' ELSE p.state END, 1),
      ('cells', p.total), ('cells.failed', p.failed), ('cells.canceled', p.canceled),
      ('cells.completed', p.done - p.failed - p.canceled - p.expired),
      ('cells.expired', p.expired)) AS counted (what, n)
      WHERE p.group_id IS NOT NULL) AS both_sides
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (group_id, what) DO UPDATE SET n = u.n + excluded.n;
  END IF;
  RETURN NULL;
END $$;

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
END $$;

CREATE OR REPLACE FUNCTION copy_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO usage AS u (key_id, capacity, sync_limit, concurrency, weight, quota_daily,
                          quota_monthly)
  SELECT id, queue_capacity, sync_limit, concurrency, weight, quota_daily, quota_monthly
  FROM after ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    capacity = excluded.capacity, sync_limit = excluded.sync_limit,
    concurrency = excluded.concurrency, weight = excluded.weight,
    quota_daily = excluded.quota_daily, quota_monthly = excluded.quota_monthly
  WHERE (u.capacity, u.sync_limit, u.concurrency, u.weight, u.quota_daily, u.quota_monthly)
        IS DISTINCT FROM
        (excluded.capacity, excluded.sync_limit, excluded.concurrency, excluded.weight,
         excluded.quota_daily, excluded.quota_monthly);
  RETURN NULL;
END $$;
