-- The functions of the counters as revision 0002 made them; revision 0003 replaces some.
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
CREATE OR REPLACE FUNCTION count_parents() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ks int[]; ps int[]; ds int[]; cs int[]; ts int[];
BEGIN
  IF tg_op = 'INSERT' THEN
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p), array_agg(d ORDER BY k, p),
           array_agg(c ORDER BY k, p), array_agg(0 ORDER BY k, p)
    INTO ks, ps, ds, cs, ts
    FROM (SELECT key_id k, priority p, count(*) FILTER (WHERE state = 'queued')::int d,
                 coalesce(sum(total) FILTER (WHERE state = 'queued'), 0)::int c
          FROM after GROUP BY 1, 2) t;
  ELSIF tg_op = 'DELETE' THEN
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p), array_agg(d ORDER BY k, p),
           array_agg(c ORDER BY k, p), array_agg(t ORDER BY k, p)
    INTO ks, ps, ds, cs, ts
    FROM (SELECT key_id k, priority p, -count(*) FILTER (WHERE state = 'queued')::int d,
                 -coalesce(sum(total) FILTER (WHERE state = 'queued'), 0)::int c,
                 -count(*) FILTER (WHERE mode = 'detached' AND finished_at IS NULL)::int t
          FROM before WHERE state = 'queued' OR mode = 'detached' GROUP BY 1, 2) t
    WHERE d <> 0 OR t <> 0;
  ELSE
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p), array_agg(d ORDER BY k, p),
           array_agg(c ORDER BY k, p), array_agg(t ORDER BY k, p)
    INTO ks, ps, ds, cs, ts
    FROM (SELECT k, p, sum(d)::int d, sum(c)::int c, sum(t)::int t
          FROM (SELECT key_id k, priority p, (state = 'queued')::int d,
                       CASE WHEN state = 'queued' THEN total ELSE 0 END c,
                       (mode = 'detached' AND finished_at IS NULL)::int t
                FROM after WHERE state = 'queued' OR mode = 'detached'
                UNION ALL
                SELECT key_id, priority, -(state = 'queued')::int,
                       CASE WHEN state = 'queued' THEN -total ELSE 0 END,
                       -(mode = 'detached' AND finished_at IS NULL)::int
                FROM before WHERE state = 'queued' OR mode = 'detached') x
          GROUP BY 1, 2) t
    WHERE d <> 0 OR c <> 0 OR t <> 0;
  END IF;
  IF ks IS NULL THEN RETURN NULL; END IF;

  INSERT INTO usage AS u (key_id, depth, detached)
  SELECT k, sum(d), sum(t) FROM unnest(ks, ds, ts) t(k, d, t) GROUP BY 1 ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    depth = u.depth + excluded.depth, detached = u.detached + excluded.detached;

  INSERT INTO backlog AS b (key_id, priority, n)
  SELECT k, p, c FROM unnest(ks, ps, cs) t(k, p, c) WHERE c <> 0 ORDER BY 1, 2
  ON CONFLICT (key_id, priority) DO UPDATE SET n = b.n + excluded.n;

  IF tg_op = 'INSERT' THEN
    INSERT INTO inflight AS i (key_id, lane_id, waiting, asked)
    SELECT key_id, l, count(*) FILTER (WHERE state = 'queued'), count(*)
    FROM after, unnest(lanes) l
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (key_id, lane_id) DO UPDATE SET
      waiting = i.waiting + excluded.waiting, asked = i.asked + excluded.asked;
  ELSIF tg_op = 'DELETE' THEN
    INSERT INTO inflight AS i (key_id, lane_id, waiting)
    SELECT key_id, l, -count(*) FROM before, unnest(lanes) l WHERE state = 'queued'
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (key_id, lane_id) DO UPDATE SET waiting = i.waiting + excluded.waiting;
  ELSE
    INSERT INTO inflight AS i (key_id, lane_id, waiting)
    SELECT k, l, sum(n)
    FROM (SELECT key_id k, l, count(*) n FROM after, unnest(lanes) l WHERE state = 'queued'
          GROUP BY 1, 2
          UNION ALL
          SELECT key_id, l, -count(*) FROM before, unnest(lanes) l WHERE state = 'queued'
          GROUP BY 1, 2) t
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (key_id, lane_id) DO UPDATE SET waiting = i.waiting + excluded.waiting;
  END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION count_children() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ks int[]; ls int[]; ps int[]; qs int[]; xs int[]; rs int[];
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
           array_agg(q ORDER BY k, l), array_agg(x ORDER BY k, l), array_agg(r ORDER BY k, l)
    INTO ks, ls, ps, qs, xs, rs
    FROM (SELECT k, l, p, sum(q)::int q, sum(x)::int x, sum(r)::int r
          FROM (SELECT key_id k, lane_id l, priority p, (state = 'queued')::int q,
                       (state = 'processing')::int x, (state = 'retrying')::int r
                FROM after
                UNION ALL
                SELECT key_id, lane_id, priority, -(state = 'queued')::int,
                       -(state = 'processing')::int, -(state = 'retrying')::int
                FROM before) both_sides
          GROUP BY 1, 2, 3) t
    WHERE q <> 0 OR x <> 0 OR r <> 0;
  END IF;
  IF ks IS NULL THEN RETURN NULL; END IF;

  INSERT INTO usage AS u (key_id, queued, processing, retrying,
                          sync_queued, sync_processing, sync_retrying)
  SELECT k, sum(q), sum(x), sum(r), sum(q * s), sum(x * s), sum(r * s)
  FROM (SELECT k, q, x, r, (p > 100)::int s FROM unnest(ks, ps, qs, xs, rs) t(k, p, q, x, r)) t
  GROUP BY 1 ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    queued = u.queued + excluded.queued,
    processing = u.processing + excluded.processing,
    retrying = u.retrying + excluded.retrying,
    sync_queued = u.sync_queued + excluded.sync_queued,
    sync_processing = u.sync_processing + excluded.sync_processing,
    sync_retrying = u.sync_retrying + excluded.sync_retrying,
    turn = CASE WHEN excluded.processing > excluded.sync_processing
                THEN extract(epoch FROM clock_timestamp()) ELSE u.turn END,
    sync_turn = CASE WHEN excluded.sync_processing > 0
                     THEN extract(epoch FROM clock_timestamp()) ELSE u.sync_turn END;

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
CREATE OR REPLACE FUNCTION copy_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO usage AS u (key_id, capacity, sync_limit, concurrency, weight)
  SELECT id, queue_capacity, sync_limit, concurrency, weight FROM after ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    capacity = excluded.capacity, sync_limit = excluded.sync_limit,
    concurrency = excluded.concurrency, weight = excluded.weight
  WHERE (u.capacity, u.sync_limit, u.concurrency, u.weight)
        IS DISTINCT FROM
        (excluded.capacity, excluded.sync_limit, excluded.concurrency, excluded.weight);
  RETURN NULL;
END $$;
