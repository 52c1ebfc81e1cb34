CREATE OR REPLACE FUNCTION held(finished_at timestamptz, estimated int, charged int) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN finished_at IS NULL THEN greatest(0, estimated - charged) ELSE 0 END $$;

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
