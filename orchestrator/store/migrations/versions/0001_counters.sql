-- The counters as revision 0001 made them; revision 0002 replaces their functions.

CREATE OR REPLACE FUNCTION decayed(n float8, since float8, clock float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN n > 1e-9
                  THEN n * exp(greatest(-500, least(0, since - clock) / 30.0)) ELSE 0 END $$;

CREATE OR REPLACE FUNCTION drain_rate(n float8, since float8, clock float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN n > 1e-9
                  THEN n * exp(greatest(-500, least(0, since - clock) / 30.0)) / 30.0 ELSE 0 END $$;

CREATE OR REPLACE FUNCTION count_parents() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ks int[]; ps int[]; ds int[]; cs int[];
BEGIN
  IF tg_op = 'INSERT' THEN
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p),
           array_agg(d ORDER BY k, p), array_agg(c ORDER BY k, p)
    INTO ks, ps, ds, cs
    FROM (SELECT key_id k, priority p, count(*)::int d, sum(total)::int c
          FROM after WHERE state = 'queued' GROUP BY 1, 2) t;
  ELSIF tg_op = 'DELETE' THEN
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p),
           array_agg(d ORDER BY k, p), array_agg(c ORDER BY k, p)
    INTO ks, ps, ds, cs
    FROM (SELECT key_id k, priority p, -count(*)::int d, -sum(total)::int c
          FROM before WHERE state = 'queued' GROUP BY 1, 2) t;
  ELSE
    SELECT array_agg(k ORDER BY k, p), array_agg(p ORDER BY k, p),
           array_agg(d ORDER BY k, p), array_agg(c ORDER BY k, p)
    INTO ks, ps, ds, cs
    FROM (SELECT k, p, sum(d)::int d, sum(c)::int c
          FROM (SELECT key_id k, priority p, 1 d, total c FROM after WHERE state = 'queued'
                UNION ALL
                SELECT key_id, priority, -1, -total FROM before WHERE state = 'queued') x
          GROUP BY 1, 2) t
    WHERE d <> 0 OR c <> 0;
  END IF;
  IF ks IS NULL THEN RETURN NULL; END IF;

  INSERT INTO usage AS u (key_id, depth)
  SELECT k, sum(d) FROM unnest(ks, ds) t(k, d) GROUP BY 1 ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET depth = u.depth + excluded.depth;

  INSERT INTO backlog AS b (key_id, priority, n)
  SELECT k, p, c FROM unnest(ks, ps, cs) t(k, p, c) ORDER BY 1, 2
  ON CONFLICT (key_id, priority) DO UPDATE SET n = b.n + excluded.n;

  IF tg_op = 'INSERT' THEN
    INSERT INTO inflight AS i (key_id, lane_id, waiting)
    SELECT key_id, l, count(*) FROM after, unnest(lanes) l WHERE state = 'queued'
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (key_id, lane_id) DO UPDATE SET waiting = i.waiting + excluded.waiting;
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

  INSERT INTO usage AS u (key_id, queued, processing, retrying)
  SELECT k, sum(q), sum(x), sum(r) FROM unnest(ks, qs, xs, rs) t(k, q, x, r)
  GROUP BY 1 ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    queued = u.queued + excluded.queued,
    processing = u.processing + excluded.processing,
    retrying = u.retrying + excluded.retrying,
    turn = CASE WHEN excluded.processing > 0 THEN extract(epoch FROM clock_timestamp())
                ELSE u.turn END;

  INSERT INTO backlog AS b (key_id, priority, n)
  SELECT k, p, sum(q + r) FROM unnest(ks, ps, qs, rs) t(k, p, q, r)
  GROUP BY 1, 2 HAVING sum(q + r) <> 0 ORDER BY 1, 2
  ON CONFLICT (key_id, priority) DO UPDATE SET n = b.n + excluded.n;

  INSERT INTO inflight AS i (key_id, lane_id, queued, processing, retrying)
  SELECT k, l, sum(q), sum(x), sum(r) FROM unnest(ks, ls, qs, xs, rs) t(k, l, q, x, r)
  GROUP BY 1, 2 ORDER BY 1, 2
  ON CONFLICT (key_id, lane_id) DO UPDATE SET
    queued = i.queued + excluded.queued,
    processing = i.processing + excluded.processing,
    retrying = i.retrying + excluded.retrying;

  INSERT INTO lane_load AS l (lane_id, queued, processing, retrying)
  SELECT k, sum(q), sum(x), sum(r) FROM unnest(ls, qs, xs, rs) t(k, q, x, r)
  GROUP BY 1 ORDER BY 1
  ON CONFLICT (lane_id) DO UPDATE SET
    queued = l.queued + excluded.queued,
    processing = l.processing + excluded.processing,
    retrying = l.retrying + excluded.retrying;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION copy_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO usage AS u (key_id, capacity, concurrency, weight)
  SELECT id, queue_capacity, concurrency, weight FROM after ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    capacity = excluded.capacity, concurrency = excluded.concurrency, weight = excluded.weight
  WHERE (u.capacity, u.concurrency, u.weight)
        IS DISTINCT FROM (excluded.capacity, excluded.concurrency, excluded.weight);
  RETURN NULL;
END $$;

CREATE TRIGGER parent_counted_in AFTER INSERT ON parent REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_parents();

CREATE TRIGGER parent_counted AFTER UPDATE ON parent
       REFERENCING OLD TABLE AS before NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_parents();

CREATE TRIGGER parent_counted_out AFTER DELETE ON parent REFERENCING OLD TABLE AS before
       FOR EACH STATEMENT EXECUTE FUNCTION count_parents();

CREATE TRIGGER child_counted_in AFTER INSERT ON child REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_children();

CREATE TRIGGER child_counted AFTER UPDATE ON child
       REFERENCING OLD TABLE AS before NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_children();

CREATE TRIGGER child_counted_out AFTER DELETE ON child REFERENCING OLD TABLE AS before
       FOR EACH STATEMENT EXECUTE FUNCTION count_children();

CREATE TRIGGER api_key_limited_in AFTER INSERT ON api_key REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION copy_limits();

CREATE TRIGGER api_key_limited AFTER UPDATE ON api_key
       REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION copy_limits();
